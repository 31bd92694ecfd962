# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quickstart as steps on a fleet: play it, look at what it made, spoil it, repair it. Demo and tests share it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import FleetError
from .fleet import Fleet, Node

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = "stowage.engine.quickstart"
PICTURE = "stowage.engine.picture"
PREPARE = f"""
- hosts: nodes
  gather_facts: false
  become: true
  vars_files: [{ROOT}/playbooks/group_vars/nodes.yml]
  roles: [stowage.engine.host]
  tasks:
    - ansible.builtin.include_tasks: {ROOT}/playbooks/tasks/busybox.yml
"""
CONTAINERS = """
- hosts: nodes
  gather_facts: false
  become: true
  tasks:
    - stowage.engine.containers:
        containers: {containers}
"""


@dataclass(frozen=True)
class Played:
    """An ansible-playbook run: its output, tasks changed by host, and the subjects that its diff names, by host."""

    output: str
    seconds: float
    changed: dict[str, int]
    subjects: dict[str, set[str]]


def play(fleet: Fleet, playbook: str, *arguments: str, collections: Path | None = None) -> Played:
    """Run a playbook of the collection on the fleet. FleetError where it fails."""
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(fleet.inventory), playbook, *arguments]
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections or ROOT / "build" / "collections"),
        "ANSIBLE_HOST_KEY_CHECKING": "false",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }
    start = time.monotonic()
    # Away from the tree, so that an installed copy is found where it was installed and nowhere else.
    done = subprocess.run(argv, env=env, cwd=fleet.directory, text=True, capture_output=True, timeout=600, check=False)
    if done.returncode:
        raise FleetError(f"{playbook} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    changed = {host: int(count) for host, count in re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", done.stdout, re.M)}
    return Played(done.stdout + done.stderr, time.monotonic() - start, changed, _subjects(done.stdout))


def prepare(fleet: Fleet) -> None:
    """As the quickstart begins: the engine, and the image busybox:1."""
    playbook = fleet.directory / "prepare.yml"
    playbook.write_text(PREPARE)
    play(fleet, str(playbook))


def have_containers(fleet: Fleet, wanted: list[dict[str, Any]], *arguments: str) -> Played:
    """Play one task that wants these containers, each with the options of the module's ``containers``."""
    playbook = fleet.directory / "containers.yml"
    playbook.write_text(CONTAINERS.format(containers=json.dumps(wanted)))
    return play(fleet, str(playbook), *arguments)


def _subjects(output: str) -> dict[str, set[str]]:
    """A diff stands before the line that says on which host it was."""
    subjects: dict[str, set[str]] = {}
    pending: set[str] = set()
    for line in output.splitlines():
        if found := re.match(r"^[-+]((?:cgroup|network|container|image|engine)\b.*?): ", line):
            pending.add(found[1])
        elif found := re.match(r"^(?:changed|ok): \[([^\]]+)\]", line):
            subjects.setdefault(found[1], set()).update(pending)
            pending = set()
    return subjects


# What is there ------------------------------------------------------------------------------------


def containers(node: Node) -> dict[str, dict[str, Any]]:
    """What `stowage ps` knows, by name."""
    return {told["name"]: told for told in json.loads(node.run(["stowage", "ps", "--json"]).stdout)}


def fetch_inside(node: Node, url: str) -> str:
    """What the container `client` gets from ``url``."""
    return node.run(["stowage", "exec", "client", "wget", "-q", "-O", "-", url]).stdout


def fetch_outside(address: str, port: int) -> str:
    """What this machine gets from a published port of a host."""
    with urllib.request.urlopen(f"http://{address}:{port}/", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


# On v1 and on v2, with and without systemd: the file that holds the memory limit of cgroup quickstart.
_LIMIT_FILES = (
    "/sys/fs/cgroup/memory/stowage/quickstart/memory.limit_in_bytes",
    "/sys/fs/cgroup/stowage/quickstart/memory.max",
    "/sys/fs/cgroup/stowage.slice/stowage-quickstart.slice/memory.max",
)


def limit_file(node: Node) -> str:
    return node.run(["sh", "-c", f"ls {' '.join(_LIMIT_FILES)} 2>/dev/null || true"]).stdout.split()[0]


def state_of(node: Node) -> str:
    """Every file of Stowage's on the host with its size and times, the links, and the limit: to see a write.

    The links are without their carrier: the kernel tells of one that is lost up to a second late, and nobody wrote it.
    """
    links = r"ip -br link | sed -E 's/^(\S+) +\S+ +/\1 /; s/NO-CARRIER,|,LOWER_UP//' | sort"
    look = (
        "find /var/lib/stowage /run/stowage -printf '%p %s %T@ %C@\\n' | grep -v '/log ' | sort; "
        f"{links}; cat {limit_file(node)}"
    )
    return node.run(["sh", "-c", look]).stdout


# Drift --------------------------------------------------------------------------------------------


def spoil_limit(node: Node) -> None:
    """Halve the cgroup's memory limit by hand."""
    node.run(["sh", "-c", f"echo 50331648 > {limit_file(node)}"])


def spoil_fdb(node: Node) -> None:
    """Delete the forwarding entry that leads to the other host."""
    entry = node.run(["bridge", "fdb", "show", "dev", "sx-backplane"]).stdout.split("\n")[0].split()
    node.run(["bridge", "fdb", "del", entry[0], "dev", "sx-backplane", "dst", entry[entry.index("dst") + 1]])


def kill_container(node: Node, name: str) -> None:
    """Kill a container's process, as an accident would, and wait until all is gone that goes with it.

    That is its monitor, which writes down how it ended, and the host's end of its link, which the kernel removes.
    """
    pid = containers(node)[name]["pid"]
    monitor = node.run(["awk", "/^PPid/ { print $2 }", f"/proc/{pid}/status"]).stdout.strip()
    left = f"test -e /proc/{monitor} || ip -br link | grep -q '^sv-{name}\\.'"
    wait = f"for turn in $(seq 200); do {{ {left}; }} || exit 0; sleep 0.05; done; exit 1"
    if node.run(["sh", "-c", f"kill -9 {pid}; {wait}"], check=False).returncode:
        raise FleetError(f"{node.name}: something of container {name} is there 10 s after its process was killed")
