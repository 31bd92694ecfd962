# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""checkpoint and restore on a machine with a kernel that criu knows: Debian's own of both, copied from this one."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fleet

ENGINE = Path(__file__).resolve().parents[2] / "plugins/module_utils/_engine"

pytestmark = [
    pytest.mark.root,
    pytest.mark.vm,
    pytest.mark.skipif(shutil.which("criu") is None, reason="criu is not installed"),
]

SETUP = r"""
set -e
mkdir -p /opt/bundle/rootfs/bin /opt/data
echo from outside > /opt/data/file
cp /opt/busybox /opt/bundle/rootfs/bin/busybox
for name in sh sleep cat; do ln -sf busybox /opt/bundle/rootfs/bin/$name; done
cat > /usr/local/bin/criu <<'X'
#!/bin/sh
LD_LIBRARY_PATH=/opt/lib exec /opt/criu "$@"
X
cat > /usr/local/bin/stowage-runtime <<'X'
#!/bin/sh
exec /usr/bin/python3 -I -S -E -c 'import sys; sys.path.insert(0, "/opt")
from _engine.cli.runtime import main
sys.exit(main(sys.argv[1:]))' "$@"
X
chmod +x /usr/local/bin/criu /usr/local/bin/stowage-runtime
criu check
cd /opt/bundle
stowage-runtime spec
python3 - <<'P'
import json
spec = json.load(open("config.json"))
count = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; sleep 0.2; done"
spec["process"].update(terminal=False, args=["sh", "-c", count])
spec["mounts"].append({"destination": "/data", "type": "bind", "source": "/opt/data", "options": ["bind"]})
json.dump(spec, open("config.json", "w"))
P
"""

ROUND_TRIP = r"""
set -e
cd /opt/bundle
stowage-runtime run -d one </dev/null >/dev/null 2>&1
while [ "$(stowage-runtime exec one cat /dev/shm/count)" -lt 5 ]; do sleep 0.2; done
stowage-runtime checkpoint --leave-running --image-path /opt/first one
stowage-runtime state one | grep -q running
stowage-runtime checkpoint --work-path /opt/work --image-path /opt/second one
! stowage-runtime state one 2>/dev/null
stowage-runtime restore -d --pid-file /opt/pid --work-path /opt/work --image-path /opt/second one </dev/null >/dev/null
stowage-runtime state one | grep -q "\"pid\": $(cat /opt/pid),"
count=$(stowage-runtime exec one cat /dev/shm/count)
[ "$count" -ge 5 ]
while [ "$(stowage-runtime exec one cat /dev/shm/count)" -le "$count" ]; do sleep 0.2; done
stowage-runtime exec one cat /data/file
stowage-runtime delete -f one
stowage-runtime list -q
! grep -q criu-root /proc/self/mounts
! ls -d /sys/fs/cgroup/stowage/one 2>/dev/null
"""

SCOPED = r"""
set -e
cd /opt/bundle
python3 - <<'P'
import json
spec = json.load(open("config.json"))
spec["linux"]["cgroupsPath"] = "system.slice:stowage:two"
spec["linux"]["resources"]["pids"] = {"limit": 50}
json.dump(spec, open("config.json", "w"))
P
tell() {
    systemctl show --value -p ActiveState -p TasksMax stowage-two.scope | sort | tr '\n' ' '
    dir=/sys/fs/cgroup/system.slice/stowage-two.scope
    cat $dir/pids.max $dir/payload/pids.max | tr '\n' ' '
    pid=$(stowage-runtime state two | sed -n 's/.*"pid": \([0-9]*\),.*/\1/p')
    [ "$(find $dir -name cgroup.procs -exec cat {} + | sort -n | head -n 1)" = "$pid" ] && echo the init is first
}
stowage-runtime --systemd-cgroup run -d two </dev/null >/dev/null 2>&1
tell
stowage-runtime checkpoint --image-path /opt/third two
stowage-runtime --systemd-cgroup restore -d --image-path /opt/third two </dev/null >/dev/null
tell
stowage-runtime delete -f two
[ ! -e /sys/fs/cgroup/system.slice/stowage-two.scope ]
"""


def libraries(program: str) -> list[str]:
    """The shared libraries of a program, without the C library, which the machine has."""
    lines = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[2] for line in lines if "=> /" in line and "libc.so" not in line]


@pytest.fixture(scope="module")
def machine() -> Iterator[fleet.Node]:
    criu = str(shutil.which("criu"))
    with fleet.up("tf-checkpoint", ["node-a"], backend="vm") as hosts:
        node = hosts.node("node-a")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
            tar.add(ENGINE, "_engine", filter=lambda member: None if "__pycache__" in member.name else member)
            tar.add(criu, "criu")
            tar.add("/bin/busybox", "busybox")
            for library in libraries(criu):
                tar.add(library, f"lib/{Path(library).name}")
        unpack = node.argv(["sh", "-c", "mkdir -p /opt && tar -xC /opt"])
        subprocess.run(unpack, input=archive.getvalue(), check=True, timeout=120)
        node.run(["sh", "-s"], stdin=SETUP, timeout=120)
        yield node


def test_a_container_goes_on_where_it_was(machine: fleet.Node) -> None:
    """Its memory, files of its tmpfs and a bind mount; and nothing is left of it."""
    assert machine.run(["sh", "-s"], stdin=ROUND_TRIP, timeout=180).stdout == "from outside\n"


def test_a_restored_scope_has_its_limits(machine: fleet.Node) -> None:
    """systemd's own of it too, which it would write again; and nobody but the container is in there."""
    told = machine.run(["sh", "-s"], stdin=SCOPED, timeout=180).stdout.splitlines()
    assert told == ["50 active 50 50 the init is first"] * 2
