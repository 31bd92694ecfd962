# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TOML is read as Python's own tomllib reads it, or refused with its line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.toml import TomlError, parse_toml

GOOD = [
    "",
    "# nothing\n",
    'a = "b" # c\n\n\'d.e\' = \'\\n\'\n"f#" = "\\u00e4\\t\\"x\\"\\\\"\n',
    "a = 1\nb = -17\nc = 1_000\nd = true\ne = false",
    'a.b.c = 1\na."b".d = 2\n',
    'a = []\nb = ["x", "y",]\nc = [ # one\n  1, # two\n\n  2\n]\nd = [[1], ["x"]]\n',
    'a = {}\nb = { c = "d", e.f = true }\n',
    '[a]\nb = 1\n[a.c]\nd = 2\n[ e . "f g" ]\nh = 3\n',
    '[[r]]\nl = "a"\n[[r.mirror]]\nl = "b"\n[[r.mirror]]\nl = "c"\n[[r]]\nprefix = "d"\n[r.more]\nx = 1\n',
    'a = "b"\r\nc = "d"\r\n',
]
BAD = [
    ("a", "line 1: '=' is expected after the key 'a'"),
    ("\n\na = ", "line 3: a string, an integer"),
    ('x = 1\na = "b\n', "line 2: a string has no end"),
    ("a = 1 b = 2", "line 1: something after"),
    ("a = 1\na = 2", "line 2: 'a' is there twice"),
    ("[a\n", "line 1: ']' is expected"),
    ("[[a]\n", "line 1: ']]' is expected"),
    ("a = 1\n[a]\n", "line 2: 'a' is there already, and no table"),
    ("a = 1\n[[a]]\n", "line 2: 'a' is there already, and no array"),
    ("a = [1 2]", "line 1: ',' or ']' is expected"),
    ("a = {b = 1 c = 2}", "line 1: ',' is expected"),
    ('a = "\\x"', "line 1: \\x is no escape"),
    ('a = """\nb\n"""', "line 1: strings over several lines are not read here"),
    ("a = 1.5", "line 1: a string, an integer"),
    ("a = 1979-05-27", "line 1: a string, an integer"),
    ("= 1", "line 1: a key is expected"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_read_is_what_python_reads(text: str) -> None:
    assert parse_toml(text) == tomllib.loads(text)


@pytest.mark.parametrize(("text", "match"), BAD)
def test_what_is_not_read_is_told_with_its_line(text: str, match: str) -> None:
    with pytest.raises(TomlError) as error:
        parse_toml(text)
    assert str(error.value).startswith(match)


def test_debians_own_file_is_read() -> None:
    path = Path("/etc/containers/registries.conf")
    if not path.exists():
        pytest.skip("containers-common, a dependency of skopeo, is not installed")
    assert parse_toml(path.read_text()) == tomllib.loads(path.read_text())


@given(st.text(alphabet="[]{}=\"'\\.,# \n\tab1-_tru", max_size=60))
def test_any_text_is_read_alike_or_refused(text: str) -> None:
    try:
        found = parse_toml(text)
    except TomlError:
        return
    # What is taken here and not by Python (a table that is opened twice) has a meaning all the same.
    with contextlib.suppress(tomllib.TOMLDecodeError):
        assert found == tomllib.loads(text)
