# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of an ordinary user on a real machine with systemd and cgroup v2: whose cgroups they may have."""

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
USER, UID = "tester", 1234

pytestmark = [pytest.mark.root, pytest.mark.vm]

SETUP = f"""
useradd --uid {UID} --create-home {USER}
mkdir -p /opt/engine /home/{USER}/b/rootfs/bin && tar -xC /opt/engine
cp /bin/busybox /home/{USER}/b/rootfs/bin && for a in sh cat sleep; do ln -s busybox /home/{USER}/b/rootfs/bin/$a; done
chown -R {USER}: /home/{USER}
printf '#!/bin/sh\\nexec /usr/bin/python3 -I -S -E /opt/engine stowage-runtime "$@"\\n' > /usr/local/bin/stowage-runtime
chmod 755 /usr/local/bin/stowage-runtime
loginctl enable-linger {USER}
until [ -S /run/user/{UID}/systemd/private ]; do sleep 0.1; done
"""

# What every script of the user's begins with: `spec` writes a config.json, `edit LIMITS ARG ...` changes it.
PROLOGUE = """
cd ~/b; exec 2>&1
spec() { rm -f config.json; stowage-runtime spec --rootless; edit "$@"; }
edit() {
    limits=$1; shift
    /usr/bin/python3 -I -S - "$limits" "$@" <<'END'
import json, sys
spec = json.load(open("config.json"))
spec["process"].update(terminal=False, args=sys.argv[2:])
spec["linux"]["resources"] = json.loads(sys.argv[1])
if {"type": "cgroup"} not in spec["linux"]["namespaces"]:
    spec["linux"]["namespaces"].append({"type": "cgroup"})
json.dump(spec, open("config.json", "w"))
END
}
LIMITS='{"pids": {"limit": 44}, "memory": {"limit": 33554432}}'
LOOK='cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max /proc/self/cgroup'
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fleet.Node]:
    engine = tmp_path_factory.mktemp("engine")
    shutil.copytree(ENGINE, engine / "_engine", ignore=shutil.ignore_patterns("__pycache__"))
    main = "import sys\nfrom _engine.cli.main import main\nsys.exit(main(sys.argv))\n"
    (engine / "__main__.py").write_text(main)
    # Compiled here: the machine is emulated, and has the same Python.
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", engine], check=True, timeout=120)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(engine, ".")
    with fleet.up("tf-rootless", ["node-a"], backend="vm") as hosts:
        node = hosts.node("node-a")
        command = node.argv(["sh", "-ec", f"chmod 755 /opt; {SETUP} chmod 755 /opt/engine"])
        subprocess.run(command, input=archive.getvalue(), check=True, timeout=90)
        yield node


def as_user(machine: fleet.Node, script: str, *options: str) -> list[str]:
    """What a script of the user's prints; ``options`` are systemd-run's."""
    argv = ["systemd-run", "--quiet", "--pipe", "--wait", f"--uid={USER}", *options]
    argv += [f"--setenv=XDG_RUNTIME_DIR=/run/user/{UID}", f"--setenv=HOME=/home/{USER}"]
    return machine.run([*argv, "sh", "-c", PROLOGUE + script], timeout=60).stdout.splitlines()


def test_in_a_session_there_is_no_cgroup_and_limits_are_refused(machine: fleet.Node) -> None:
    lines = as_user(
        machine,
        "cat /proc/self/cgroup; spec '{}' sh -c 'echo ran'; stowage-runtime run a; "
        'edit "$LIMITS" sh; stowage-runtime run b; echo $?',
        "--property=PAMName=login",
    )
    assert f"/user.slice/user-{UID}.slice/session-" in lines[0], lines
    assert lines[1] == "ran"
    assert "linux.resources: rootless needs no limits + no cgrouppath when no permission is granted" in lines[2]
    assert lines[3] == "1"


def test_a_scope_of_the_users_own_systemd(machine: fleet.Node) -> None:
    """From a session, whose processes only systemd may move: create, exec, pause, ps, delete. Also as root of a user
    namespace, which podman is."""
    script = """
spec "$LIMITS" sh -c "$LOOK; exec sleep 60"
stowage-runtime --systemd-cgroup run -d c < /dev/null > out 2>&1; echo $?
pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/' $XDG_RUNTIME_DIR/stowage/runtime/c/state.json)
cut -d: -f3 /proc/$pid/cgroup
stowage-runtime exec c cat /proc/self/cgroup; echo
stowage-runtime pause c; stowage-runtime state c | grep -o paused; stowage-runtime resume c
stowage-runtime ps -f json c | grep -c $pid
stowage-runtime delete --force c; echo $?
sed -i 's/"hostID": [0-9]*/"hostID": 0/g; s/; exec sleep 60//' config.json
unshare --user --map-root-user sh -c 'stowage-runtime --systemd-cgroup run e < /dev/null'
systemctl --user list-units --all --plain --no-legend 'stowage*' | wc -l
cat out
"""
    lines = as_user(machine, script, "--property=PAMName=login")
    scope = f"/user.slice/user-{UID}.slice/user@{UID}.service/user.slice/stowage-c.scope/payload"
    told = ["44", "33554432", "0::/"]
    assert lines == ["0", scope, "0::/", "", "paused", "1", "0", *told, "0", *told], lines


def test_a_subtree_that_is_delegated(machine: fleet.Node) -> None:
    """In the user's own systemd and in a unit of the machine's: the container is made where its creator is."""
    script = """
spec "$LIMITS" sh -c "$LOOK; exec sleep 60"
stowage-runtime run -d d < /dev/null > out 2>&1; echo $?
pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/' $XDG_RUNTIME_DIR/stowage/runtime/d/state.json)
cut -d: -f3 /proc/$pid/cgroup
stowage-runtime delete --force d; echo $?; cat out
"""
    unit = "[Service]\nType=oneshot\nExecStart=/bin/sh /home/{0}/script\nStandardOutput=truncate:/home/{0}/told\n"
    write = (
        f"cat > script; mkdir -p .config/systemd/user; echo '{unit.format(USER)}' > .config/systemd/user/ours.service"
    )
    start = "systemctl --user daemon-reload; systemctl --user start ours; cat told"
    argv = ["runuser", "-u", USER, "--", "env", f"XDG_RUNTIME_DIR=/run/user/{UID}"]
    argv += ["sh", "-c", f"cd /home/{USER}; {write}; {start}"]
    told = machine.run(argv, stdin=PROLOGUE + script, timeout=60).stdout.splitlines()
    own = f"/user.slice/user-{UID}.slice/user@{UID}.service/stowage-d/payload"
    assert told == ["0", own, "0", "44", "33554432", "0::/"], told
    leaf = "own=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); mkdir $own/us; echo 0 > $own/us/cgroup.procs;"
    lines = as_user(machine, leaf + script, "--unit=mine", "--property=Delegate=yes")
    assert lines == ["0", "/system.slice/mine.service/stowage-d/payload", "0", "44", "33554432", "0::/"], lines


WRITABLE = """
set -e; mkdir -p /opt/c/rootfs; cp -a /home/{user}/b/rootfs/. /opt/c/rootfs; cd /opt/c; rm -f config.json
ln -sf busybox rootfs/bin/stat; ln -sf busybox rootfs/bin/mkdir
chown -R 100000:100000 rootfs; chmod 755 /opt/c
stowage-runtime spec; /usr/bin/python3 -I -S - <<'END'
import json
spec = json.load(open("config.json"))
spec["process"].update(terminal=False, args=["sh", "-c", "cd /sys/fs/cgroup; stat -c '%n %u' $PWD $PWD/cgroup.procs "
    "$PWD/memory.max; mkdir x && echo 0 > x/cgroup.procs && cat /proc/self/cgroup"])
spec["linux"]["namespaces"].append({{"type": "user"}})
for name in ("uidMappings", "gidMappings"):
    spec["linux"][name] = [{{"containerID": 0, "hostID": 100000, "size": 65536}}]
entry = next(entry for entry in spec["mounts"] if entry["destination"] == "/sys/fs/cgroup")
entry["options"] = [option for option in entry["options"] if option != "ro"]
json.dump(spec, open("config.json", "w"))
END
stowage-runtime run w 2>&1 || true
"""


def test_a_cgroup_that_can_be_written_to_is_the_users(machine: fleet.Node) -> None:
    """Of a container that root made with a user namespace: it may divide its cgroup, and not lift its own limits."""
    lines = machine.run(["sh", "-c", WRITABLE.format(user=USER)], timeout=60).stdout.splitlines()
    assert lines[:3] == ["/sys/fs/cgroup 0", "/sys/fs/cgroup/cgroup.procs 0", "/sys/fs/cgroup/memory.max 65534"], lines
    assert lines[3:] == ["0::/x"]
