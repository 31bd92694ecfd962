# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AppArmor profile of containers that name none, on a machine whose kernel has AppArmor, before and after it gets
what compiles profiles."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import fleet, story

PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
FEATURES = Path("/etc/apparmor.d/abi/3.0")  # of Debian's apparmor
RUNC = shutil.which("runc")

pytestmark = [
    pytest.mark.root,
    pytest.mark.vm,
    pytest.mark.skipif(
        not (PARSER and FEATURES.exists()),
        reason="apparmor is not installed, which compiles profiles: tests/setup.sh packages test",
    ),
]

POLICY = "/sys/kernel/security/apparmor"
SCRIPT = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.2; done"
BEFORE: list[dict[str, Any]] = [{"name": "before"}]
AFTER: list[dict[str, Any]] = [
    {"name": "web"},
    {"name": "mounter", "cap_add": ["SYS_ADMIN", "SYS_PTRACE"], "no_new_privileges": False},
    {"name": "apart", "userns": "auto"},
    {"name": "open", "security_opts": ["apparmor=unconfined"]},
    {"name": "all", "privileged": True},
    {"name": "user", "user": "1000:1000"},
    {"name": "reaped", "init": True},
    *([{"name": "other", "runtime": "runc"}] if RUNC else []),
]
TRAMPOLINE = "/memfd:runc_cloned:/proc/self/exe (deleted)"
CONFINED = {one["name"] for one in AFTER} - {"open", "all"}


def play(up: fleet.Fleet, wanted: list[dict[str, Any]], *arguments: str, state: str = "started") -> story.Played:
    common = {"image": "busybox:1", "command": ["sh", "-c", SCRIPT], "stop_timeout": 20, "state": state}
    return story.have_containers(up, [{**common, **one} for one in wanted], *arguments)


def labels(machine: fleet.Node) -> dict[str, str]:
    """By container, what the kernel says of its first process; and who enters has the same."""
    script = "stowage exec $0 cat /proc/1/attr/current /proc/self/attr/current"
    names = [name for name, told in story.containers(machine).items() if told["running"]]
    told = machine.run(["sh", "-ec", f"for name do sh -c '{script}' $name; done", "sh", *names], timeout=180).stdout
    lines = told.replace("\0", "").splitlines()
    assert lines[::2] == lines[1::2]
    return dict(zip(names, lines[::2]))


@pytest.fixture(scope="module")
def hosts() -> Iterator[fleet.Fleet]:
    fleet.down("vmapparmor")
    with fleet.up("vmapparmor", ["node-a"], backend="vm") as up:
        node = up.nodes[0]
        story.prepare(up)
        play(up, BEFORE)
        assert labels(node) == {"before": "unconfined"}
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
            tar.add(str(PARSER), "usr/sbin/apparmor_parser")
            tar.add(FEATURES, str(FEATURES)[1:])
            if RUNC:
                tar.add(RUNC, "usr/local/sbin/runc")
        subprocess.run(node.argv(["tar", "-xC", "/"]), input=archive.getvalue(), check=True, timeout=120)
        played = play(up, BEFORE + AFTER, "--diff")
        assert "before" not in played.subjects["node-a"], "a container that is there is as it was asked for"
        yield up


@pytest.fixture
def machine(hosts: fleet.Fleet) -> fleet.Node:
    return hosts.nodes[0]


def test_who_names_no_profile_has_it_and_nothing_is_left_to_do(hosts: fleet.Fleet, machine: fleet.Node) -> None:
    expected = {one["name"]: "unconfined" for one in BEFORE + AFTER}
    assert labels(machine) == {**expected, **dict.fromkeys(CONFINED, "stowage-default (enforce)")}
    again = play(hosts, BEFORE + AFTER, "--check", "--diff")
    assert again.changed == {"node-a": 0}, again.output
    told = machine.run(["stowage", "inspect", "--readable", "web"]).stdout
    assert "stowage-default (enforce)" in told


def test_what_is_entered_is_not_python(machine: fleet.Node) -> None:
    """The trampoline is under the profile too, and in memory: nothing of the host's is opened (CVE-2019-5736)."""
    look = "while [ ! -e /tmp/enough ]; do ls -l /proc/[0-9]*/exe 2>/dev/null; done"
    enter = "for i in $(seq 4); do stowage exec mounter sh -c :; done; stowage exec mounter sh -c ': > /tmp/enough'"
    told = machine.run(["sh", "-ec", f"stowage exec mounter sh -c '{look}' & {enter}; wait"], timeout=180).stdout
    # A process that has ended by then has no program.
    seen = {line.rpartition(" -> ")[2] for line in told.splitlines() if " -> " in line}
    assert "/bin/busybox" in seen
    assert seen <= {"/bin/busybox", TRAMPOLINE}


DENIED = r"""
try() { "$@" 2>&1 | grep -q 'Permission denied' || echo "it could: $*"; }
try mount -t tmpfs none /tmp
try mount --bind /etc /tmp
try cat /proc/kcore
try cat /proc/sysrq-trigger
umount /proc/sys /proc/irq /proc/sysrq-trigger /proc/bus /sys /sys/firmware 2>/dev/null
try sh -c 'echo 1 > /proc/sysrq-trigger'
try sh -c 'echo 1 > /proc/sys/vm/overcommit_memory'
try sh -c 'echo x > /proc/sys/kernel/core_pattern'
try sh -c 'echo 1 > /proc/sys/kernel/sysrq'
try sh -c 'echo 1 > /proc/sys/kernel/sched_autogroup_enabled'
try sh -c 'echo 1 > /proc/irq/default_smp_affinity'
try ls /sys/firmware
try ls /sys/kernel/security
kill -0 1 && echo signals its own
echo $$ > /proc/self/oom_score_adj 2>/dev/null; echo 0 > /proc/self/oom_score_adj && echo writes its own
echo "$(cat /proc/sys/kernel/shmmni)" > /proc/sys/kernel/shmmni && echo writes its IPC
readlink /proc/1/exe | grep -q busybox && echo looks at its own
"""


def test_what_it_denies_and_what_it_does_not(machine: fleet.Node) -> None:
    """In a container that has the capabilities for it, and takes away what hides these paths."""
    told = machine.run(["stowage", "exec", "mounter", "sh", "-c", DENIED]).stdout.splitlines()
    assert told == ["signals its own", "writes its own", "writes its IPC", "looks at its own"]
    opened = machine.run(["stowage", "exec", "all", "sh", "-c", "mount -t tmpfs none /tmp && echo mounts"]).stdout
    assert opened == "mounts\n"


def test_steps_of_builds_have_it_too(machine: fleet.Node) -> None:
    text = "FROM busybox:1\nRUN cat /proc/self/attr/current /proc/1/attr/current\n"
    machine.run(["sh", "-ec", "mkdir -p /opt/context; cat > /opt/context/Containerfile"], stdin=text)
    done = machine.run(["stowage", "build", "-t", "labelled:1", "/opt/context"], timeout=180)
    told = (done.stdout + done.stderr).replace("\0", "").splitlines()
    assert told.count("stowage-default (enforce)") == 2, told


def test_it_is_loaded_again_where_it_is_gone(hosts: fleet.Fleet, machine: fleet.Node) -> None:
    """As after a boot."""
    machine.run(["sh", "-ec", f"printf stowage-default > {POLICY}/.remove"])
    play(hosts, [{"name": "more"}])
    # What was running is not confined any more, as with any profile that is removed.
    told = machine.run(["stowage", "exec", "more", "cat", "/proc/1/attr/current"]).stdout
    assert told.strip("\0\n") == "stowage-default (enforce)"
    machine.run(["stowage", "rm", "more"])


def test_confined_containers_end_when_asked(hosts: fleet.Fleet, machine: fleet.Node) -> None:
    """By a signal of whoever is not confined; and a profile that is loaded is left alone."""
    serial = f"ls -d {POLICY}/policy/profiles/stowage-default.*"
    loaded = machine.run(["sh", "-c", serial]).stdout
    play(hosts, BEFORE + AFTER, state="stopped")
    codes = {name: told["exit_code"] for name, told in story.containers(machine).items()}
    assert codes == dict.fromkeys((one["name"] for one in BEFORE + AFTER), 3)
    play(hosts, BEFORE)
    assert labels(machine) == {"before": "stowage-default (enforce)"}, "a new process is confined"
    assert machine.run(["sh", "-c", serial]).stdout == loaded
