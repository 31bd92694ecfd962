# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quickstart on a real machine: systemd, unified cgroup v2, sshd. What most users' hosts look like."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from . import fleet, story

pytestmark = [pytest.mark.root, pytest.mark.vm]


@pytest.fixture(scope="module")
def machine() -> Iterator[fleet.Node]:
    fleet.down("vmquickstart")
    with fleet.up("vmquickstart", ["node-a"], backend="vm") as up:
        story.play(up, story.QUICKSTART)
        yield up.nodes[0]


@pytest.fixture(scope="module")
def hosts(machine: fleet.Node) -> fleet.Fleet:
    found = fleet.load("vmquickstart")
    assert found is not None
    return found


def test_both_containers_run_and_talk(machine: fleet.Node) -> None:
    found = story.containers(machine)
    assert {name: told["running"] for name, told in found.items()} == {"web": True, "client": True}
    assert "Hello" in story.fetch_inside(machine, "http://web/")


def test_second_run_changes_nothing(hosts: fleet.Fleet) -> None:
    again = story.play(hosts, story.QUICKSTART, "--diff")
    assert again.changed == {"node-a": 0}, again.output


def test_containers_are_in_scopes_of_their_own_with_delegation(machine: fleet.Node) -> None:
    for name, told in story.containers(machine).items():
        member = machine.run(["cat", f"/proc/{told['pid']}/cgroup"]).stdout
        assert member == f"0::/stowage.slice/stowage-quickstart.slice/stowage-{name}.scope/payload\n"
        shown = machine.run(["systemctl", "show", "-p", "Delegate,Slice", f"stowage-{name}.scope"]).stdout
        assert "Delegate=yes" in shown and "Slice=stowage-quickstart.slice" in shown


def test_limits_of_the_cgroup_are_those_of_a_slice(machine: fleet.Node) -> None:
    shown = machine.run(["systemctl", "show", "-p", "MemoryMax,TasksMax", "stowage-quickstart.slice"]).stdout
    assert f"MemoryMax={96 * 1024 * 1024}" in shown and "TasksMax=64" in shown
    assert machine.run(["cat", story.limit_file(machine)]).stdout.strip() == str(96 * 1024 * 1024)


def test_drift_is_seen_exactly_and_repaired(hosts: fleet.Fleet, machine: fleet.Node) -> None:
    pid = story.containers(machine)["client"]["pid"]
    story.spoil_limit(machine)
    story.kill_container(machine, "web")
    before = story.state_of(machine)
    check = story.play(hosts, story.QUICKSTART, "--check", "--diff")
    assert check.subjects["node-a"] == {"cgroup quickstart", "container web"}, check.output
    assert story.state_of(machine) == before
    real = story.play(hosts, story.QUICKSTART, "--diff")
    assert real.subjects == check.subjects
    assert story.containers(machine)["client"]["pid"] == pid
    assert story.play(hosts, story.QUICKSTART).changed == {"node-a": 0}


def test_containers_outlive_every_session(hosts: fleet.Fleet, machine: fleet.Node) -> None:
    """Also where logind ends what a session leaves: sessions are terminated, and the SSH connections closed."""
    pids = {name: told["pid"] for name, told in story.containers(machine).items()}
    subprocess.run(["ssh", "-F", str(hosts.ssh_config), "-O", "exit", machine.name], capture_output=True, check=True)
    terminate = "loginctl list-sessions --no-legend | awk '{print $1}' | xargs -r loginctl terminate-session; sleep 1"
    machine.run(["systemd-run", "--quiet", "--wait", "sh", "-c", terminate], check=False)  # it ends this very session
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = machine.run(["stowage", "ps", "--json"], check=False)
        if found.returncode == 0:
            break
        time.sleep(0.5)
    assert {name: told["pid"] for name, told in story.containers(machine).items()} == pids
    assert all(told["running"] for told in story.containers(machine).values())


def test_nothing_is_left_when_all_is_removed(machine: fleet.Node) -> None:
    machine.run(["stowage", "rm", "web", "client"])
    units = machine.run(["systemctl", "list-units", "--all", "--no-legend", "stowage-*.scope"]).stdout
    assert units.strip() == ""
    assert "overlay" not in machine.run(["cat", "/proc/self/mounts"]).stdout
    assert machine.run(["sh", "-c", "ip -br link | grep '^sv-' || true"]).stdout == ""
