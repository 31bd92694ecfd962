# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stowage's runtime, runc and crun on a real machine with systemd and cgroup v2: one life, in scopes of their own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import fleet, story

pytestmark = [pytest.mark.root, pytest.mark.vm]

RUNTIMES = {"native": "", **{name: name for name in ("runc", "crun") if shutil.which(name)}}
# The libraries of these programs that a machine with systemd does not have anyway.
LIBRARIES = ("libyajl.so.2",)


def containers(memory: str = "32M", state: str = "started") -> list[dict[str, Any]]:
    """For each runtime one with ids of its own, and for other runtimes one with the host's (test_vm_quickstart.py has
    our own)."""
    common = {"image": "busybox:1", "memory": memory, "pids_limit": "40", "stop_timeout": 5, "state": state}
    command = ["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.2; done"]
    return [
        {"name": f"{name}-{userns}", "runtime": runtime, "userns": userns, "command": command, **common}
        for name, runtime in RUNTIMES.items()
        for userns in (("keep", "auto") if runtime else ("auto",))
    ]


def copy(node: fleet.Node, source: str, target: str) -> None:
    command = node.argv(["sh", "-c", f"cat > {target} && chmod 755 {target}"])
    subprocess.run(command, input=Path(source).read_bytes(), check=True, timeout=120)


@pytest.fixture(scope="module")
def hosts() -> Iterator[fleet.Fleet]:
    fleet.down("vmruntimes")
    with fleet.up("vmruntimes", ["node-a"], backend="vm") as up:
        node = up.nodes[0]
        story.prepare(up)
        for runtime in filter(None, RUNTIMES.values()):
            copy(node, str(shutil.which(runtime)), f"/usr/local/bin/{runtime}")
        for library in LIBRARIES:
            found = Path("/usr/lib/x86_64-linux-gnu", library)
            if found.exists():
                copy(node, str(found), f"/usr/local/lib/{library}")
        node.run(["ldconfig"])
        story.have_containers(up, containers())
        yield up


@pytest.fixture
def machine(hosts: fleet.Fleet) -> fleet.Node:
    return hosts.nodes[0]


NAMES = [one["name"] for one in containers()]


def test_all_run_and_nothing_is_left_to_do(hosts: fleet.Fleet, machine: fleet.Node) -> None:
    assert {name: told["running"] for name, told in story.containers(machine).items()} == dict.fromkeys(NAMES, True)
    again = story.have_containers(hosts, containers(), "--diff")
    assert again.changed == {"node-a": 0}, again.output


def look(machine: fleet.Node, script: str) -> dict[str, list[str]]:
    """The words that a shell script says of each container, $name of process $pid in cgroup $payload, in one go."""
    lines = []
    for name, told in story.containers(machine).items():
        payload = f"/sys/fs/cgroup/stowage.slice/stowage-{name}.scope/payload"
        lines.append(f"name={name} pid={told['pid']} payload={payload}; echo $name $({script})")
    found = (line.split() for line in machine.run(["sh", "-c", "\n".join(lines)]).stdout.splitlines())
    return {name: words for name, *words in found}


def test_each_is_in_a_scope_of_its_own(machine: fleet.Node) -> None:
    script = "cat /proc/$pid/cgroup; systemctl show -p Delegate,Slice,ActiveState stowage-$name.scope"
    for name, words in look(machine, script).items():
        assert words[0] == f"0::/stowage.slice/stowage-{name}.scope/payload"
        assert {"Delegate=yes", "Slice=stowage.slice", "ActiveState=active"} == set(words[1:])


def test_its_root_is_whom_was_asked_for(machine: fleet.Node) -> None:
    script = "stat -c %u /proc/$pid; stowage exec $name sh -c 'id -u; stat -c %u /; hostname'"
    for name, (owner, *inside) in look(machine, script).items():
        assert (int(owner) >= 0x70000000) == name.endswith("-auto")
        assert inside == ["0", "0", name]


def test_limits_change_live(hosts: fleet.Fleet, machine: fleet.Node) -> None:
    pids = {name: told["pid"] for name, told in story.containers(machine).items()}
    played = story.have_containers(hosts, containers("48M"), "--diff")
    assert played.subjects["node-a"] == {f"container {name}" for name in NAMES}, played.output
    assert {name: told["pid"] for name, told in story.containers(machine).items()} == pids
    assert look(machine, "cat $payload/memory.max $payload/pids.max") == {key: [str(48 << 20), "40"] for key in NAMES}


def test_drift_is_seen_and_repaired_live(hosts: fleet.Fleet, machine: fleet.Node) -> None:
    pids = {name: told["pid"] for name, told in story.containers(machine).items()}
    look(machine, "echo 7 > $payload/pids.max")
    checked = story.have_containers(hosts, containers("48M"), "--check", "--diff")
    assert checked.subjects["node-a"] == {f"container {name}" for name in NAMES}, checked.output
    story.have_containers(hosts, containers("48M"))
    assert {name: told["pid"] for name, told in story.containers(machine).items()} == pids
    assert story.have_containers(hosts, containers("48M")).changed == {"node-a": 0}


def test_each_ends_when_asked_and_leaves_nothing(hosts: fleet.Fleet, machine: fleet.Node) -> None:
    story.have_containers(hosts, containers("48M", state="stopped"))
    assert {name: told["exit_code"] for name, told in story.containers(machine).items()} == dict.fromkeys(NAMES, 3)
    assert look(machine, "stowage logs $name") == {key: ["ready"] for key in NAMES}
    machine.run(["stowage", "rm", *NAMES])
    units = machine.run(["systemctl", "list-units", "--all", "--no-legend", "stowage-*.scope"]).stdout
    assert units.strip() == ""
    assert "overlay" not in machine.run(["cat", "/proc/self/mounts"]).stdout
    assert machine.run(["sh", "-c", "ls /run/stowage/runtimes/* 2>/dev/null | grep -v : | grep . || true"]).stdout == ""
