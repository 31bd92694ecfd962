# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that peers and we make: a layer with each kind of file, changes to it, all that a configuration has."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from .conftest import member

APPLETS = ("sh", "id", "ls", "cat", "stat", "sleep", "rm", "mkdir", "chmod", "chown", "ln", "mv", "echo")
DIR, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw, permitted and effective
LONG = "long-" + "n" * 120
ENTRY = """\
echo "arguments $# $*"
echo "user $(id -u):$(id -g) $(id -G)"
echo "place $PWD $GREETING"
for path in *; do
    [ -d "$path" ] && form='%n %f %u %g' || form='%n %f %u %g %h %t:%T'
    stat -c "$form" "$path"
done
cat made owned && echo
ls /opaque
exec sleep "${LINGER:-0}"
"""
CHANGES = (
    "set -e; rm /removed; rm -r /gone /opaque; mkdir /opaque; echo new >/opaque/new; chmod 4711 /data/changed; "
    "echo made >/data/made; ln /data/made /data/made-too; chown -R 1000:1001 /data/made; "
    "mv /data/moved /data/elsewhere; "
    "ln -sf made /data/link; mkdir -p /var/lib/deep; chmod 750 /var/lib/deep"
)


def base_layer() -> bytes:
    """A root with busybox, and one of each kind of file that an image can have."""
    buffer = io.BytesIO()
    app = {"uid": 1000, "gid": 1001}
    members = [
        *(member(f"bin/{name}", LINK, linkname="busybox") for name in APPLETS),
        *(member(name, DIR) for name in ("dev", "proc", "sys", "run", "data", "volume", "data/empty")),
        member("tmp", DIR, mode=0o1777),
        member("data/shared", DIR, mode=0o2775, gid=1001),
        member("data/owned", mode=0o640, mtime=1_234_567_890.25, **app),
        member("data/suid", mode=0o4755),
        member("data/one"),
        member("data/two", HARD, linkname="data/one"),
        member("data/link", LINK, linkname="nowhere", **app),
        member(
            "data/attributes",
            pax_headers={
                "SCHILY.xattr.user.stowage": "of an image",
                "SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1"),
            },
        ),
        member("data/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
        member("data/pipe", tarfile.FIFOTYPE, mode=0o600),
        member("data/with space, ünï"),
        member(f"data/{LONG}", mode=0o444),
        member("data/changed", mode=0o600),
        member("data/moved", **app),
        *(member(name) for name in ("removed", "gone/file", "gone/deep/file", "opaque/old", "opaque/deep/old")),
    ]
    files = {
        "bin/busybox": (0o755, Path("/bin/busybox").read_bytes()),
        "entry": (0o755, ENTRY.encode()),
        "etc/passwd": (0o644, b"root:x:0:0::/:/bin/sh\napp:x:1000:1001::/data:/bin/sh\n"),
        "etc/group": (0o644, b"root:x:0:\napp:x:1001:\nmore:x:2000:app\n"),
        **{f"etc/{name}": (0o644, b"") for name in ("hosts", "hostname", "resolv.conf")},
    }
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("bin", "etc", "gone", "gone/deep", "opaque", "opaque/deep"):
            archive.addfile(member(name, DIR))
        for name, (mode, content) in files.items():
            archive.addfile(member(name, mode=mode, size=len(content)), io.BytesIO(content))
        for info in members:
            content = info.name.encode() if info.type == tarfile.REGTYPE else b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


CONFIG = {
    "Entrypoint": ["/bin/sh", "/entry"],
    "Cmd": ["first", "second one"],
    "User": "app",
    "WorkingDir": "/data",
    "StopSignal": "SIGUSR1",
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Volumes": {"/volume": {}},
}
LABEL = ("example.label", "of a peer")
GREETING = "hello there"
# One layer is there twice.
CONTAINERFILE = f"""\
FROM scratch
ADD base.tar /
RUN {CHANGES}
COPY one /again
COPY two /again
COPY one /again
ENTRYPOINT {json.dumps(CONFIG["Entrypoint"])}
CMD {json.dumps(CONFIG["Cmd"])}
ENV GREETING="{GREETING}"
LABEL {LABEL[0]}="{LABEL[1]}"
EXPOSE 80/tcp 53/udp
VOLUME /volume
STOPSIGNAL SIGUSR1
WORKDIR /data
USER app
"""


def context(directory: Path) -> str:
    """What the Containerfile is built in."""
    directory.mkdir()
    (directory / "base.tar").write_bytes(base_layer())
    (directory / "Containerfile").write_text(CONTAINERFILE)
    for name in ("one", "two"):
        (directory / name).write_text(name)
    return str(directory)


def settings(config: bytes) -> dict[str, object]:
    """What of a configuration the image was made with, and its history; in each spelling."""
    document = json.loads(config)
    section = document["config"]
    found = {key: section.get(key) for key in CONFIG}
    found["greeting"] = [entry for entry in section["Env"] if entry.startswith("GREETING=")]
    found["label"] = section["Labels"].get(LABEL[0])
    found["platform"] = (document["os"], document["architecture"])
    found["layers"] = document["rootfs"]["diff_ids"]
    fields = ("created_by", "comment", "author", "empty_layer")
    found["history"] = [tuple(step.get(field) for field in fields) for step in document["history"]]
    return found
