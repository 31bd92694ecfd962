# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is still on the machine: snapshots of everything that Stowage or a fleet can leave, and their difference."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from . import cgroups
from .process import parse_start, run
from .state import State

OURS = re.compile(r"stowage|tests/fleet/|build/fleet/|\bsf-[0-9a-f]{6}\b")
PLACES = ("/run/stowage", "/var/lib/stowage", "/etc/stowage", "/usr/local/bin/stowage", "/usr/local/lib/stowage")


@dataclass(frozen=True)
class Snapshot:
    """Each item is a line that says what it is: "mount tmpfs on /x", "link sf-1a2b3c", ..."""

    items: frozenset[str]


def snapshot() -> Snapshot:
    return Snapshot(
        frozenset(
            [*_observe_mounts(), *_observe_links(), *_observe_cgroups(), *_observe_processes(), *_observe_files()]
        )
    )


def leftovers(before: Snapshot | None = None, *, fleet: State | None = None, timeout: float = 2) -> list[str]:
    """What is there now and was not before; without `before`, what bears a name of Stowage's or of a fleet's.

    With `fleet`, of all that only what bears the names of this one fleet, for a machine where others go on.

    Asks again until `timeout`, since the kernel takes network namespaces apart in the background.
    """
    end = time.monotonic() + timeout
    names = re.compile("|".join(map(re.escape, fleet.names))) if fleet else OURS
    while True:
        found = snapshot().items
        if before:
            found -= before.items
        if fleet or not before:
            found = frozenset(item for item in found if names.search(item))
        if not found or time.monotonic() > end:
            return sorted(found)
        time.sleep(0.05)


def _observe_mounts() -> list[str]:
    mounts = (line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [f"mount {tail.split()[0]} on {head.split()[4]}" for head, tail in mounts]


def _observe_links() -> list[str]:
    return [f"link {link['ifname']}" for link in json.loads(run(["ip", "-j", "link"]))]


def _observe_cgroups() -> list[str]:
    tops = [str(hierarchy.mount) for hierarchy in cgroups.observe_hierarchies()]
    return [f"cgroup {path}" for top in tops for path, _rest, _rest in os.walk(top)]


def _observe_processes() -> list[str]:
    """Processes in namespaces other than this one's, with these namespaces, and all that bear a name of ours."""
    items = []
    kinds = ("net", "mnt", "pid", "uts", "ipc", "cgroup")
    own = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            start = parse_start(pid)
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            namespaces = [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds]
            member = re.findall(r"/\S*stowage\S*", Path(f"/proc/{pid}/cgroup").read_text())
        except OSError:
            continue
        apart = " ".join(name for name in namespaces if name not in own)
        if apart or member or OURS.search(command):
            items.append(f"process {pid} started {start} {apart} {' '.join(member[:1])}: {command[:120]}")
    return items


def _observe_files() -> list[str]:
    files = [f"file {path}" for path in PLACES if os.path.lexists(path)]
    return (
        files
        + [f"file {path}" for path in Path("/tmp").glob("sf-*")]
        + [f"file {path}" for path in Path("/run/netns").glob("*")]
    )
