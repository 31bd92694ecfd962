# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m tests.bench [--write] [name ...]`: run the benchmarks, all or those that are named.

A figure that is missed is shown, and is no failure: only a benchmark that cannot run is.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback

from tests.bench.frame import render_text
from tests.bench.page import read_machine, write_page

NAMES = ("start", "many", "again", "monitors", "overlay", "library", "programs", "images", "pull", "builds")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md (with all benchmarks only)")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
    if options.write and options.names:
        parser.error("--write takes a run of all benchmarks: leave the names out")
    if os.geteuid() != 0:
        parser.error("run it as root: it makes namespaces, mounts and cgroups")
    machine = read_machine()
    sys.stdout.write(f"{machine}\n")
    tables, failed = [], []
    for name in options.names or NAMES:
        benchmark = importlib.import_module(f"tests.bench.{name}")
        sys.stdout.write(f"\n== {name}: {benchmark.TITLE} ==\n")
        sys.stdout.flush()
        start = time.monotonic()
        try:
            rows = list(benchmark.measure())
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        tables.append((benchmark, rows))
        sys.stdout.write(f"{render_text(rows)}\n({time.monotonic() - start:.0f} s)\n")
        sys.stdout.flush()
    if failed:
        sys.stdout.write(f"\ncould not run: {', '.join(failed)}\n")
        return 1
    if options.write:
        sys.stdout.write(f"\nwrote {write_page(machine, tables)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
