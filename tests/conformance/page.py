# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/conformance.md, out of the outcomes of a run (conftest.py) and of the suites of others (suites.py)."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SPECIFICATION = "https://github.com/opencontainers/runtime-spec/blob/v1.3.0"
CHAPTERS = {
    "bundle": "Filesystem bundle",
    "config": "Configuration",
    "config-linux": "Linux configuration",
    "runtime": "Runtime and lifecycle",
    "runtime-linux": "Linux runtime",
    "features": "Features structure",
}
INTRO = """\
# Conformance

`make conformance` writes this page; nothing in it is written by hand. Every row is an item of the
[OCI runtime specification](https://github.com/opencontainers/runtime-spec) 1.3.0, its Linux part, and a test of ours in
`tests/conformance/` that tries it through the command line of a runtime: `stowage-runtime`, and its peers on the same
machine, in the same run. A peer's column tells what that version does with our test, no more.

- **yes**: the runtime does what the specification says.
- **refused**: this machine cannot do it, and the runtime says so instead of leaving it out silently, as it has to.
- **no**: it does not.
- **—**: it cannot be tried on this machine; the note tells why.
"""


def cell(outcome: dict[str, str] | None) -> str:
    """One runtime's word on one item."""
    if outcome is None or outcome["outcome"] == "skipped":
        return "—"
    if outcome["outcome"] != "passed":
        return "**no**"
    return "refused" if outcome.get("note", "").endswith("refused, as it should be") else "yes"


def notes(item: str, records: dict[str, dict[str, Any]]) -> str:
    """What tests noted of an item; once where all say the same. Why something fails is for whoever runs the test."""
    said: dict[str, list[str]] = {}
    for name, record in records.items():
        outcome = record.get(item) or {}
        if outcome.get("note") and outcome["outcome"] != "failed":
            said.setdefault(outcome["note"].removeprefix("Skipped: "), []).append(name)
    if len(said) == 1 and len(next(iter(said.values()))) > 1:
        return next(iter(said))
    return "; ".join(f"{', '.join(names)}: {note}" for note, names in said.items())


def write_page(path: Path, versions: dict[str, str], records: dict[str, dict[str, Any]]) -> None:
    """Write the page anew."""
    parts = [INTRO, f"Run on {time.strftime('%Y-%m-%d', time.gmtime())}: {machine()}.\n", summary(versions, records)]
    heads = " | ".join(f"{name} {version}" for name, version in versions.items())
    items = next(iter(records.values()))
    for chapter, title in CHAPTERS.items():
        rows = [
            f"## {title}: [{chapter}.md]({SPECIFICATION}/{chapter}.md)\n",
            f"| Item | Test | {heads} | Note |",
            "| --- | --- |" + " --- |" * (len(versions) + 1),
        ]
        for item, outcome in items.items():
            if item.split("/")[0] == chapter:
                words = " | ".join(cell(record.get(item)) for record in records.values())
                name = item.partition("/")[2] or item
                rows.append(f"| {name} | `{outcome['test']}` | {words} | {notes(item, records)} |")
        parts.append("\n".join(rows) + "\n")
    parts += [render_suite(json.loads(file.read_text())) for file in sorted(RESULTS.glob("*.json"))]
    path.write_text("\n".join(parts))


def summary(versions: dict[str, str], records: dict[str, dict[str, Any]]) -> str:
    """How many items each runtime passes."""
    rows = ["| Runtime | yes | refused | no | — | of |", "| --- | --- | --- | --- | --- | --- |"]
    for name, record in records.items():
        words = [cell(outcome) for outcome in record.values()]
        counts = [words.count(word) for word in ("yes", "refused", "**no**", "—")]
        rows.append(f"| {name} {versions[name]} | {' | '.join(map(str, counts))} | {len(words)} |")
    return "\n".join(rows) + "\n"


def render_suite(suite: dict[str, Any]) -> str:
    """A suite of others: totals, and a row a program or a file of it."""
    names = list(suite["runtimes"])
    heads = " | ".join(f"{name} {version}" for name, version in suite["runtimes"].items())
    rows = [
        f"## {suite['title']}\n",
        f"{suite['note']}\n",
        f"| {suite['of']} | {heads} |",
        "| --- |" + " --- |" * len(names),
    ]
    totals = " | ".join(f"**{suite['totals'].get(name, '')}**" for name in names)
    rows.append(f"| **all** | {totals} |")
    for case, verdicts in suite["results"].items():
        rows.append(f"| {case} | {' | '.join(str(verdicts.get(name, '')) for name in names)} |")
    return "\n".join(rows) + "\n"


def machine() -> str:
    """Kernel and cgroups, one line."""
    version = "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1, hybrid"
    if version != "v2" and not os.path.ismount("/sys/fs/cgroup/unified"):
        version = "v1"
    return f"Linux {platform.release()} on {platform.machine()}, cgroup {version}"
