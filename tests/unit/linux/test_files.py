# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written goes into a file of our own, whoever has laid one ready under the temporary name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.files import create_file, write_atomic


@pytest.mark.parametrize("kind", ["leftover", "link", "hard link"])
def test_a_file_under_the_temporary_name_is_not_written_into(tmp_path: Path, kind: str) -> None:
    other, leftover = tmp_path / "other", tmp_path / ".state.tmp"
    other.write_text("precious")
    if kind == "leftover":
        leftover.write_text("half")
    elif kind == "link":
        leftover.symlink_to(other)
    else:
        leftover.hardlink_to(other)
    with (leftover if kind == "leftover" else other).open() as theirs:
        for content in (b"first", b"second"):
            write_atomic(str(tmp_path / "state"), content, mode=0o640)
        assert theirs.read() in ("half", "precious")
    assert other.read_text() == "precious"
    assert (tmp_path / "state").read_text() == "second"
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "state"]


def test_what_cannot_be_taken_away_is_told(tmp_path: Path) -> None:
    (tmp_path / ".state.tmp").mkdir()
    with pytest.raises(OSError, match=r"\.state\.tmp"):
        create_file(str(tmp_path / ".state.tmp"), 0o600)
