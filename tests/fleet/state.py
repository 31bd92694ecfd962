# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written down about a fleet, before each step that makes something.

So `down` finds everything again after the maker was killed at any instant: names of links and cgroups follow from
the fleet's directory, and a process is recorded before it is let go.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .process import Process


@dataclass
class Host:
    """One host: its underlay address, and the process (PID 1's parent, or qemu) that it lives and dies with."""

    name: str
    address: str = ""
    process: Process | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive()


@dataclass
class State:
    """A fleet on disk: `directory/state.json`, replaced as a whole each time."""

    name: str
    backend: str
    directory: Path
    hosts: list[Host] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    subnet: str = ""  # three octets, "10.213.7"
    ready: bool = False

    @property
    def hash(self) -> str:
        """Two clones of the project may each have a fleet of one name on one machine."""
        return hashlib.blake2s(os.fsencode(self.directory), digest_size=3).hexdigest()

    @property
    def cgroup_prefix(self) -> str:
        return f"stowage-fleet-{self.name}-{self.hash}-"

    @property
    def link(self) -> str:
        """The machine's end of the underlay."""
        return f"sf-{self.hash}"

    @property
    def names(self) -> list[str]:
        """What everything that belongs to this fleet bears in its name, path or cgroup."""
        return [self.cgroup_prefix, self.link, f"{self.directory}/"]

    @property
    def sockets(self) -> Path:
        """Where ssh keeps its shared connections: a socket's path holds 108 bytes at most, so not in the tree."""
        return Path("/tmp") / self.link

    def scratch(self, host: str) -> Path:
        path = self.directory / host
        path.mkdir(exist_ok=True)
        return path

    def save(self) -> None:
        data = asdict(self)
        data["directory"] = str(self.directory)
        new = self.directory / "state.json.new"
        new.write_text(json.dumps(data, indent=1))
        new.replace(self.directory / "state.json")

    @classmethod
    def load(cls, directory: Path) -> State | None:
        try:
            data = json.loads((directory / "state.json").read_text())
        except FileNotFoundError:
            return None
        data["directory"] = directory
        data["processes"] = [Process(**process) for process in data["processes"]]
        data["hosts"] = [
            Host(host["name"], host["address"], host["process"] and Process(**host["process"]))
            for host in data["hosts"]
        ]
        return cls(**data)

    def spawn(self, argv: Sequence[str], log: Path) -> subprocess.Popen[str]:
        """Starts a program that waits for a first line on its standard input, and records it meanwhile."""
        with log.open("a") as stderr:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
                cwd="/",
            )
        with contextlib.suppress(ProcessLookupError):  # ended already: whoever talks to it next says why
            self.processes.append(Process.of(child.pid))
        self.save()
        return child
