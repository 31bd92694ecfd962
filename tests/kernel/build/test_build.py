# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containerfiles that are really built: their stages, what is refused, builds that are killed or find no room."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.building import build_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    BuildFailed,
    EngineError,
    InvalidContainerfile,
    InvalidOption,
    NotFound,
    Unsupported,
)
from tests.kernel.build.conftest import BASE, NAME, run


def test_stages_that_nothing_needs_are_not_built(workshop):
    text = (
        BASE.replace("scratch", "scratch AS one") + "FROM one AS never\nRUN false\nFROM one AS two\nRUN echo 2 > /2\n"
    )
    workshop.build(text)
    assert workshop.has("/2")
    workshop.build(text, target="one")
    assert not workshop.has("/2")
    with pytest.raises(BuildFailed):
        workshop.build(text, target="never")
    with pytest.raises(InvalidOption, match="one, never, two"):
        workshop.build(text, target="three")


def test_arguments_in_front_of_the_first_stage(workshop):
    text = (
        "ARG BASE=scratch\nARG V=1\n"
        + BASE.replace("scratch", "$BASE")
        + ("ARG V\nARG W=${V:-x}2\nARG TARGETARCH\nRUN echo $V $W $TARGETARCH-$TARGETOS > /args\n")
    )
    workshop.build(text, args=(("V", "7"), ("misspelt", "x")))
    assert workshop.read("/args") == "7 72 amd64-\n"
    assert workshop.forecast(text, args=(("misspelt", "x"),)).warnings == (
        "args: no ARG declares misspelt, so it has no effect",
    )


def test_triggers_of_a_base(workshop):
    workshop.write("a", "x")
    base = BASE + "ONBUILD COPY a /triggered\nONBUILD RUN cat /triggered > /ran\n"
    workshop.build(base, name="docker.io/library/base:1")
    assert len(workshop.document("base:1")["config"]["OnBuild"]) == 2
    workshop.build("FROM base:1\nRUN cat /ran > /after\n")
    assert workshop.read("/after") == "x"
    assert "OnBuild" not in workshop.config()
    workshop.build(base + "FROM 0\n".replace("FROM 0", "FROM base:1"))
    assert workshop.has("/ran")


def test_images_as_origins(workshop):
    workshop.build(BASE + "RUN echo x > /x && chown 3:4 /x", name="docker.io/library/base:1")
    workshop.build("FROM scratch\nCOPY --from=base:1 /x /bin/busybox /y/\n")
    assert workshop.tree()["y/x"] == ("0o100644", 3, 4, b"x\n")
    with pytest.raises(EngineError, match="registry"):
        workshop.build("FROM localhost:1/no/such:1\n")
    assert workshop.forecast("FROM localhost:1/no/such:1\n").pulls == ("localhost:1/no/such:1",)


REFUSED = {
    "COPY ../x /x": "Containerfile:4: COPY: the path '../x' leaves the context",
    "COPY a/../../x /x": "Containerfile:4: COPY: the path 'a/../../x' leaves the context",
    "COPY none /x": "Containerfile:4: COPY: 'none' is not in the context",
    "COPY no* /x": "Containerfile:4: COPY: nothing in the context matches no*",
    "COPY out /x": "Containerfile:4: COPY: 'out' is not in the context",
    "COPY ignored /x": "Containerfile:4: COPY: 'ignored' is left out of the context by its ignore file",
    "COPY a a /x": "Containerfile:4: COPY: with more than one source",
    "COPY --chown=nobody a /x": "Containerfile:4: COPY: --chown=nobody: no user 'nobody'",
    "COPY --chmod=9 a /x": "Containerfile:4: COPY: --chmod=9: it is neither octal",
    "COPY --from=later a /x": "Containerfile:4: COPY: 'a' is not in the context",
    "COPY --from=3 a /x": "Containerfile:4: COPY: there is no stage 3",
    "COPY a /bin/busybox/x": "Containerfile:4: COPY: 'bin/busybox/x' cannot be written",
    "COPY dir /bin/busybox": "Containerfile:4: COPY: a directory is copied to '/bin/busybox', which is a file",
    "ADD https://github.com/a/b.git /x": "Containerfile:4: ADD: https://github.com/a/b.git: git repositories",
    'ENV a="${b:?it is needed}"': "Containerfile:4: ENV: b: it is needed",
    "EXPOSE x": "Containerfile:4: EXPOSE: 'x' is no port",
    "STOPSIGNAL !": "Containerfile:4: STOPSIGNAL: '!' is no signal",
    "WORKDIR $none": "Containerfile:4: WORKDIR: ",
    "WORKDIR /bin/busybox/x": "Containerfile:4: WORKDIR: '/bin/busybox/x' cannot be",
    "RUN --mount=source=../x,target=/x true": "Containerfile:4: RUN: --mount: the source '../x' leaves the context",
    "RUN --mount=source=none,target=/x true": "Containerfile:4: RUN: --mount: the source 'none' is not in the context",
    "RUN --mount=type=tmpfs,target=/x,size=x true": "Containerfile:4: RUN: --mount: size is 'x'",
    "RUN --mount=type=tmpfs,target=/ true": "Containerfile:4: RUN: --mount: the target cannot be the root",
}


@pytest.mark.parametrize("step", REFUSED)
def test_what_cannot_be_is_told_with_file_and_line(workshop, step):
    workshop.build(BASE)
    blobs = workshop.blobs()
    for name in ("a", "dir/b", "ignored"):
        workshop.write(name)
    os.symlink("/etc/passwd", workshop.context / "out")
    workshop.write(".dockerignore", "ignored\n")
    expected = (
        REFUSED[step].replace("'a' is not in the context", "the stage later does not come before this one")
        if ("later" in step)
        else REFUSED[step]
    )
    with pytest.raises(InvalidContainerfile) as raised:
        workshop.build(BASE + step + "\nFROM scratch AS later\nFROM 0\n".replace("\nFROM 0", ""), target="0")
    assert str(raised.value).startswith(f"{workshop.context}/{expected}")
    assert workshop.blobs() == blobs


def test_other_refusals(workshop):
    with pytest.raises(Unsupported, match="this host is linux/"):
        workshop.build("FROM --platform=linux/s390x scratch\nCOPY busybox /b\n")
    with pytest.raises(NotFound, match="Containerfile"):
        build_image(workshop.paths, workshop.wanted(BASE, file=str(workshop.context / "no/Containerfile")))
    with pytest.raises(NotFound, match="context of the build"):
        workshop.build(BASE, context="/no/such/directory")


def test_a_build_that_is_killed_leaves_nothing_that_stands_in_the_way(workshop, another_workshop):
    text = BASE + "".join(f"RUN echo {number} > /{number} && sleep 0.02\n" for number in range(6)) + "COPY . /all\n"
    expected = another_workshop.build(text)
    wanted = workshop.wanted(text)
    for attempt in range(12):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                build_image(workshop.paths, wanted)
            os._exit(0)
        time.sleep(0.03 + 0.05 * attempt)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert build_image(workshop.paths, wanted) == expected
    assert os.listdir(os.path.join(workshop.paths.build_cache, "work")) == []
    left = [
        path
        for path in Path("/sys/fs/cgroup").glob(f"*/{workshop.paths.instance}/*")
        if stat.S_ISDIR(path.stat().st_mode)
    ]
    assert left == []
    mounts = Path("/proc/self/mounts").read_text()
    assert str(workshop.directory) not in mounts
    assert workshop.blobs() == another_workshop.blobs()


def test_skopeo_and_umoci_read_what_is_built(workshop):
    workshop.build(BASE + 'RUN rm /bin/zcat && mkdir /d && chown 5 /d\nCMD ["sh"]\nEXPOSE 80\n')
    layout = f"oci:{workshop.paths.images}:{NAME}"
    assert json.loads(run("skopeo", "inspect", "--config", layout))["config"]["Cmd"] == ["sh"]
    run("skopeo", "copy", layout, f"oci:{workshop.directory}/copy:x")
    run("umoci", "unpack", "--image", f"{workshop.directory}/copy:x", f"{workshop.directory}/bundle")
    root = workshop.directory / "bundle/rootfs"
    assert not (root / "bin/zcat").exists()
    assert (root / "d").stat().st_uid == 5
    assert (root / "bin/busybox").stat().st_size > 0


def test_what_is_missing_is_told_before_a_step_runs(workshop):
    with pytest.raises(InvalidContainerfile, match="Containerfile:5: COPY: 'none' is not in the context"):
        workshop.forecast(BASE + "RUN touch /x\nCOPY none /x\n")
    text = BASE.replace("scratch", "scratch AS tools") + BASE + "RUN touch /x\nCOPY --from=tools /bin /tools\n"
    assert [step.stage for step in workshop.forecast(text).steps] == ["tools"] * 3 + ["stage 1"] * 5


def test_a_full_disk_stores_nothing_half(workshop):
    text = BASE + "RUN dd if=/dev/urandom of=/big bs=1M count=3\nRUN rm /big\n"
    run("mount", "-t", "tmpfs", "-o", "size=9m", "stowage-test", str(make(workshop.paths.root)))
    try:
        with pytest.raises(EngineError, match="No space left on device"):
            workshop.build(text)
        for digest in workshop.blobs():
            assert run("sha256sum", os.path.join(workshop.paths.images, "blobs", *digest.split(":"))).startswith(
                digest.partition(":")[2]
            )
        run("mount", "-o", "remount,size=60m", workshop.paths.root)
        digest = workshop.build(text)
        assert workshop.forecast(text).digest == digest
    finally:
        run("umount", workshop.paths.root)


def make(directory):
    os.makedirs(directory)
    return directory
