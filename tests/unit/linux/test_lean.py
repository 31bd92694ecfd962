# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-ins do what json and contextlib do, and bring nothing of those along."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._ansible.install import build_engine
from ansible_collections.stowage.engine.plugins.module_utils._ansible.sources import engine_files
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import lean
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.lean import (
    Descriptor,
    dumps,
    loads,
    suppress,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
HEAVY = {"json", "re", "enum", "functools", "collections", "contextlib", "signal", "dataclasses", "typing"}


@given(VALUES)
def test_values_are_written_and_read_as_json_does(value):
    assert dumps(value) == json.dumps(value)
    assert loads(json.dumps(value, indent=1)) == value
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["", "{", "[1,]", "{'a': 1}", "1 2", "nul", '"\n"', "[1" * 3, "\ufeff{}"])
def test_faults_are_told_in_the_words_of_json(text):
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    with pytest.raises(ValueError) as found:
        loads(text)
    assert str(found.value) == str(expected.value)


def test_what_json_does_not_have_is_refused():
    with pytest.raises(TypeError, match="bytes is not JSON serializable"):
        dumps({"a": b"b"})


@given(VALUES)
def test_another_python_has_json_itself(value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lean, "_c", None)
        assert loads(dumps(value)) == value


def test_only_the_kinds_that_were_named_are_suppressed():
    with suppress(FileNotFoundError, ValueError):
        raise FileNotFoundError
    with pytest.raises(KeyError), suppress(FileNotFoundError):
        raise KeyError


def test_a_descriptor_is_closed():
    with Descriptor(os.open("/dev/null", os.O_RDONLY)) as fd:
        os.fstat(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_launcher_imports_nothing_heavy(tmp_path):
    """What it imports, every start waits for, and every monitor keeps in memory."""
    (tmp_path / "engine.pyz").write_bytes(build_engine(engine_files()))
    code = "import sys; sys.path.insert(0, sys.argv[1]); import stowage_engine.shim.launcher; print(*sys.modules)"
    argv = [sys.executable, "-I", "-S", "-E", "-c", code, str(tmp_path / "engine.pyz")]
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert "stowage_engine.shim.launcher" in loaded
    # From a zip: zipimport itself may need some of these before the engine is there.
    bare = subprocess.run(
        [*argv[:5], "import sys, zipimport; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert HEAVY & set(loaded) <= set(bare.stdout.split())
