# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mount looks like from inside (proc_pid_mountinfo(5)), and mounts of the host's to bind."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .box import Box


@dataclass(frozen=True)
class Mount:
    """``flags`` are the mount's own, ``data`` its file system's; ``peers`` are shared:N, master:N, unbindable."""

    destination: str
    flags: set[str]
    peers: set[str]
    kind: str
    source: str
    data: set[str]

    def has_peer(self, word: str) -> bool:
        return any(peer.partition(":")[0] == word for peer in self.peers)


def parse_mounts(text: str) -> dict[str, Mount]:
    """By destination; the last one where several lie on each other."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        dash = fields.index("-")
        kind, source, data = fields[dash + 1 : dash + 4]
        peers = set(fields[6:dash])
        found[fields[4]] = Mount(fields[4], set(fields[5].split(",")), peers, kind, source, set(data.split(",")))
    return found


def mounts_inside(box: Box) -> dict[str, Mount]:
    return parse_mounts(box.sh("cat /proc/self/mountinfo"))


def host_tmpfs(box: Box, name: str, options: str = "rw") -> Path:
    """A tmpfs of the host's in the box's directory, which Box.clean() takes away."""
    path = box.directory / name
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    box.own_mounts.append(str(path))
    return path


def share(path: Path) -> None:
    """Make a mount the first of a peer group."""
    subprocess.run(["mount", "--make-shared", path], check=True)
