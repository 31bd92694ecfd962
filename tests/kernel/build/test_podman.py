# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same Containerfiles with podman, as an oracle: the same files and the same configuration come of them.

Where Dockerfile's reference says otherwise than what podman (buildah 1.28) does, the reference counts; these are left
out here, and are in test_build.py.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.kernel.build.conftest import BASE, NAME, run, tell_file

FIELDS = (
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "StopSignal",
    "Labels",
    "OnBuild",
    "Healthcheck",
)
# What buildah leaves of what it mounted.
STUBS = ("dev", "proc", "sys", "run", "etc", "etc/hosts", "etc/resolv.conf", "etc/hostname", "run/.containerenv")

CASES = {
    "settings": (
        'RUN mkdir /v /y\nENV a=1 b="2 3" c=$PATH\nENV d ${a}x\nLABEL l="x y" "m"=n\nWORKDIR /w\n'
        'WORKDIR x\nEXPOSE 80 53/udp\nVOLUME /v ["/x"]\nSTOPSIGNAL SIGINT\nRUN true\nUSER 5:6\n'
        'ENTRYPOINT ["/bin/sh"]\nCMD ["-c", "true"]\nMAINTAINER me\n'
    ).replace(' ["/x"]', " /y"),
    "shell forms": "CMD echo a  'b'\nENTRYPOINT exec x\n",
    "health": "HEALTHCHECK --interval=1m --retries=2 CMD test -e /x\n",
    "no health": 'HEALTHCHECK CMD ["a", "b"]\nHEALTHCHECK NONE\n',
    "command before entrypoint": 'CMD ["a"]\nENTRYPOINT ["b"]\n',
    "expansion": (
        "ARG x=value\nARG y\nENV A=${x} B=${y:-none} C=${x:+there} D='$x' E=\"$x y\" F=\\$x\nWORKDIR /${x}/${y:-none}\n"
        "LABEL ${x}=1 b=${A}\nRUN true\nUSER ${x}\n"
    ),
    "continuations": "RUN echo one \\\n  # comment\n\n  two > /f && \\\n  echo three >> /f\n",
    "directories": "COPY tree /t\nCOPY tree /t2/\nCOPY tree/ t3\nCOPY . /all/\n",
    "files": "COPY a b /d/\nCOPY a /e\nCOPY a /f/\nRUN mkdir /g\nCOPY a /g\nWORKDIR /w\nCOPY a .\nCOPY a ./x/y\n",
    "globs": "COPY tree/*.txt /g/\nCOPY tree/?.md tree/[x-z]* /h/\nCOPY tree/*/deep /i/\n",
    "quotes": 'COPY ["with space", "a", "/q q/"]\nENV X="a \\"b\\" c" Y=\'d "e"\'\nRUN ["/bin/touch", "/x y"]\n',
    "owners and modes": (
        "COPY passwd group /etc/\nCOPY --chown=7:8 a /o1\nCOPY --chown=app:more tree /o2\nCOPY --chmod=4711 a /o3\n"
        "RUN chown 9:9 /o1 && chmod 600 /o3\n"
    ),
    "stages": (
        "RUN mkdir -p /out/x && echo s > /out/x/f && chown 3:4 /out/x/f && ln -s x /out/l\nFROM scratch\n"
        "COPY busybox /bin/busybox\nCOPY --from=0 /out /copied\nCOPY --from=0 /out/x/f /bin/busybox /more/\n"
        "COPY --from=0 /out/l/f /z\n"
    ),
    "archives": "ADD packed.tar.gz /p\nADD packed.tar.gz a /p2/\nCOPY packed.tar.gz /p3\n",
    "changes": (
        "RUN mkdir -p /d/e /k && touch /d/f /d/e/g /k/h && ln -s f /d/l && ln /d/f /d/hard && mkfifo /d/fifo\n"
        "RUN rm -r /d/e /d/f && mkdir /d/e && mv /k /moved && chmod 700 /d && rm /bin/zcat\n"
        "RUN rm -r /d && mkdir -p /d/n\n"
    ),
    "users and places": (
        "COPY passwd group /etc/\nRUN mkdir -m 777 /w\nUSER app\nWORKDIR /w\n"
        "RUN id > id; pwd > pwd; echo $HOME > home\n"
        "USER 1234\nRUN id -u > uid\nUSER root\nRUN id -G > groups\n"
    ),
    "links on the way": (
        "RUN mkdir /real && ln -s real /link && ln -s /nowhere /dangling\nCOPY a /link/\nCOPY tree /link/t\n"
    ),
    "exceptions": "COPY kept /k/\n",
}


@pytest.fixture(scope="module")
def podman(tmp_path_factory):
    """Runs podman with a store of its own."""
    directory = Path("/dev/shm") / f"stowage-podman-{os.getpid()}"
    directory.mkdir()
    words = ["podman", "--root", f"{directory}/root", "--runroot", f"{directory}/run", "--storage-driver", "vfs"]
    try:
        yield lambda *more: run(*words, "--runtime", "runc", *more)
    finally:
        run(*words, "system", "reset", "--force")
        shutil.rmtree(directory, ignore_errors=True)


def fill(workshop):
    for name in ("a", "b", "with space", "tree/x.txt", "tree/y.txt", "tree/m.md", "tree/sub/deep", "tree/zed/deep"):
        workshop.write(name, f"content of {name}")
    (workshop.context / "tree").chmod(0o750)
    (workshop.context / "tree/sub").chmod(0o700)
    os.symlink("x.txt", workshop.context / "tree/link")
    workshop.write("passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")
    workshop.write("group", "root:x:0:\napp:x:1001:\nmore:x:1002:app\n")
    workshop.write("kept/one", "1")
    workshop.write("kept/two", "2")
    workshop.write("kept/sub/three", "3")
    workshop.write(".dockerignore", "# a comment\nkept/*\n!kept/two\n**/three\n")
    source = workshop.directory / "packed"
    (source / "in").mkdir(parents=True)
    (source / "in/file").write_text("packed")
    run("tar", "-czf", str(workshop.context / "packed.tar.gz"), "--owner=0", "--group=0", "-C", str(source), "in")


def read_files(directory):
    """Every path with kind, mode, owner and content, as tree() has it."""
    found = {}
    for folder, folders, names in os.walk(directory):
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, directory)
            if relative not in STUBS and relative.split("/")[0] != "bin":
                found[relative] = tell_file(path, os.lstat(path))
    return found


def settings(podman, name):
    config = json.loads(podman("inspect", name))[0]["Config"]
    config["Labels"] = {key: value for key, value in (config.get("Labels") or {}).items() if "buildah" not in key}
    return {field: config.get(field) or None for field in FIELDS}


@pytest.mark.parametrize("case", CASES)
def test_podman_comes_to_the_same(workshop, podman, case):
    fill(workshop)
    workshop.build(BASE + CASES[case])
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
    podman(
        "build",
        "--format",
        "docker",
        "--isolation",
        "chroot",
        "--timestamp",
        "0",
        *limits,
        "-t",
        "theirs:1",
        str(workshop.context),
    )
    # Some of podman's own names cannot have every path in them.
    run(
        "skopeo",
        "copy",
        f"oci:{workshop.paths.images}:{NAME}",
        f"oci:/dev/shm/stowage-podman-{os.getpid()}/{case[:2]}:x",
    )
    identity = podman("pull", "-q", f"oci:/dev/shm/stowage-podman-{os.getpid()}/{case[:2]}:x").split()[-1]
    assert settings(podman, identity) == settings(podman, "theirs:1")
    theirs = read_files(podman("image", "mount", "theirs:1").strip())
    ours = read_files(podman("image", "mount", identity).strip())
    unpacked = {path: told for path, told in workshop.tree().items() if path not in STUBS}
    assert ours == unpacked, "what podman unpacks is what is unpacked here"
    assert ours == theirs
