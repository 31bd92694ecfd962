# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands' front door: errors become one line and an exit status; looking at an empty host writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cli.main import main

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.stowage.engine.plugins.module_utils._engine.cli.main import main
sys.exit(main(["/usr/local/bin/stowage", *sys.argv[2:]]))
"""


@pytest.fixture(name="root", autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty host of its own."""
    monkeypatch.setenv("STOWAGE_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("STOWAGE_RUN_ROOT", str(tmp_path / "run"))
    return tmp_path


@pytest.mark.parametrize("argv", [["/usr/local/bin/stowage", "ps"], ["app", "stowage", "ps"], ["stowage", "ps"]])
def test_the_name_or_the_first_word_is_the_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    assert capsys.readouterr().out.split() == ["NAME", "STATUS", "IMAGE", "NETWORKS", "PORTS", "MEMORY", "LIMIT", "PID"]


@pytest.mark.parametrize("argv", [["app"], ["app", "nonsense"]])
def test_what_is_no_command_is_answered_with_how_to_use_it(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("usage: ")


@pytest.mark.parametrize("words", [["inspect", "web"], ["logs", "web"], ["stop", "web"], ["rm", "web"]])
def test_a_missing_container_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stowage", *words]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "stowage: container 'web' is not on this host; see: stowage ps\n")


def test_a_name_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stowage", "inspect", "../x"]) == 1
    assert capsys.readouterr().err.startswith("stowage: NAME: '../x' is not valid; expected 1 to 63 letters")


@pytest.mark.parametrize("command", ["ps", "images", "networks", "cgroups"])
def test_looking_at_an_empty_host_writes_nothing(command: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stowage", command]) == 0
    assert capsys.readouterr().out.startswith("NAME")
    assert list(root.iterdir()) == []


def test_ps_of_nothing_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stowage", "ps", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_a_reader_that_had_enough_is_no_error() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    collections = Path(__file__).parents[3] / "build/collections"
    words = [sys.executable, "-c", RUN, collections, "images"]
    done = subprocess.run(words, stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")
