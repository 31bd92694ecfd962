# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/benchmarks.md: the tables of one whole run, and what they were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path

from tests.bench.frame import Row, render_markdown

_PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_VERSIONS = {
    "Python": ["/usr/bin/python3", "--version"],
    "ansible-core": ["ansible", "--version"],
    "runc": ["runc", "--version"],
    "crun": ["crun", "--version"],
    "podman": ["podman", "--version"],
    "conmon": ["conmon", "--version"],
    "umoci": ["umoci", "--version"],
    "skopeo": ["skopeo", "--version"],
    "iproute2": ["ip", "-V"],
}
_INTRO = """\
# Benchmarks

`make bench` measures Stowage and its peers in the same run; `python -m tests.bench start overlay` runs some of the
benchmarks, and `python -m tests.bench --write` writes this page. It takes root, what `tests/setup.sh packages test`
installs, and a machine with nothing else to do.

Figures are medians. Ours and the peers take turns, so what slows the machine slows both; the ratio is the figure to
trust. State of all of them is on a tmpfs: no disk is measured, and a disk that syncs slowly adds to all of them.
"""


def read_machine() -> str:
    """Kernel, processors, load and versions, one line."""
    system = "systemd" if os.path.isdir("/run/systemd/system") else "no systemd"
    cgroup = "cgroup v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "cgroup v1"
    where = f"{_distribution()}, Linux {platform.release()}, {os.cpu_count()} CPUs, {cgroup}, {system}"
    where += f", load {os.getloadavg()[0]:.1f} when it began"
    return f"{where}; {', '.join(_versions())}"


def write_page(machine: str, tables: list[tuple[object, list[Row]]]) -> Path:
    """Write the page; returns its path."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    parts = [_INTRO, f"Measured on {date}: {machine}.\n"]
    for benchmark, rows in tables:
        parts.append(f"## {benchmark.TITLE}\n\n{benchmark.NOTE}\n\n{render_markdown(rows)}\n")
    _PAGE.write_text("\n".join(parts))
    return _PAGE


def _distribution() -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE)
    return found[1] if found else "Linux"


def _versions() -> list[str]:
    found = []
    for name, command in _VERSIONS.items():
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        number = re.search(r"\d+\.\d+[\w.+]*", said.stdout + said.stderr)
        found.append(f"{name} {number[0] if number else '?'}")
    return found
