# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables line up, sizes and ages are said as people say them, and colour is for terminals alone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cli.tables import age, size, table

COLOURED = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.stowage.engine.plugins.module_utils._engine.cli.tables import table
sys.stdout.write(table(["NAME", "STATUS"], [["web", "up"]], ["green"]))
"""


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (-1, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10 * 1024, "10 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (64 * 2**20, "64 MiB"),
        (int(1.5 * 2**30), "1.5 GiB"),
        (2**40, "1.0 TiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (150, "2 minutes"),
        (3600, "1 hour"),
        (2 * 86_400 + 5, "2 days"),
        (-30, "0 seconds"),  # the clock was set back
    ],
)
@pytest.mark.parametrize("fraction", ["", ".123456789"])
def test_ages(seconds: int, told: str, fraction: str) -> None:
    written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - seconds))
    slower = {told, told.replace("0 s", "1 s").replace("1 seconds", "1 second"), "2 seconds" if seconds == 1 else told}
    assert age(f"{written}{fraction}Z") in slower


def test_no_time_has_no_age() -> None:
    assert age("") == ""


def test_columns_line_up() -> None:
    assert table(["NAME", "IMAGE", ""], [["web", "site:1", ""], ["a-long-name", "b", "incomplete"]]) == (
        "NAME          IMAGE\n"
        "web           site:1\n"
        "a-long-name   b        incomplete\n"
    )  # fmt: skip


def test_a_table_without_rows_is_its_head() -> None:
    assert table(["NAME", "STATUS"], [], []) == "NAME   STATUS\n"


def _on_a_terminal(environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    collections = Path(__file__).parents[3] / "build/collections"
    with open(ours, "rb", buffering=0) as terminal:
        subprocess.run([sys.executable, "-c", COLOURED, collections], stdout=theirs, env=environment, check=True)
        os.close(theirs)
        return terminal.read(4096).decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour_unless_told_not_to() -> None:
    assert _on_a_terminal({}) == "\033[1mNAME   STATUS\033[0m\nweb    \033[32mup    \033[0m\n"
    assert _on_a_terminal({"NO_COLOR": "1"}) == "NAME   STATUS\nweb    up\n"
