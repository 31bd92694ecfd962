# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m tests.conformance [--write PAGE] [RUNTIME ...]`: hold runtimes against the specification (root).

Native alone, or those that are named; with --write all, and the page is written. The exit status tells of native alone:
what a peer fails is a result.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .page import write_page
from .programs import NAMES, find_program

DIRECTORY = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="run all runtimes and write docs/conformance.md")
    parser.add_argument("runtimes", nargs="*", metavar="RUNTIME", help=f"some of {', '.join(NAMES)}")
    options = parser.parse_args()
    names = options.runtimes or (NAMES if options.write else ("native",))
    failed = False
    records: dict[str, dict[str, Any]] = {}
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            if name not in NAMES:
                parser.error(f"{name!r} is not one of {', '.join(NAMES)}")
            (Path(temporary) / name).mkdir()
            try:
                versions[name] = find_program(name, Path(temporary) / name).version
            except FileNotFoundError as error:
                sys.stderr.write(f"{error}: left out\n")
                continue
            sys.stdout.write(f"==> {name} {versions[name]}\n")
            sys.stdout.flush()
            record = Path(temporary) / f"{name}.json"
            brief = [] if name == "native" else ["--tb=no", "-r", ""]
            command = [sys.executable, "-m", "pytest", "-q", *brief, DIRECTORY]
            done = subprocess.run([*command, f"--oci-runtime={name}", f"--record={record}"], check=False)
            failed = failed or (name == "native" and done.returncode != 0)
            records[name] = json.loads(record.read_text())
    if options.write:
        write_page(options.write, versions, records)
        sys.stdout.write(f"written: {options.write}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
