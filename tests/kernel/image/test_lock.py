# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play that pushes an image, locks it, sends it and has it is checked before anything of that is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import layer_of, member
from .faulty import FaultyRegistry, status
from .plays import Play

pytestmark = pytest.mark.root

OLD = "sha256:" + "a" * 64


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as registry:
        registry.put_image("1", layer_of(member("file")))
        yield registry


@pytest.fixture
def play(paths: Paths, tmp_path: Path) -> Play:
    return Play(tmp_path, paths)


def told(name: str, digest: str, before: dict[str, str]) -> list[str]:
    """What holds of a lock that is registered as ``locked``."""
    pinned = f"{name.rpartition(':')[0]}@{digest}" if digest else name
    return [
        "locked is changed",
        f"locked.changes[0].before == {before}",
        f"locked.changes[0].after.digest == '{digest or 'as the registry has it'}'",
        f"locked.images['{name}'] == {{'digest': '{digest}', 'pinned': '{pinned}'}}",
    ]


@pytest.mark.parametrize("locked", [False, True], ids=["new", "locked"])
def test_what_an_earlier_task_is_to_push_is_taken_for_granted_in_check_mode_alone(
    play: Play, faulty: FaultyRegistry, tmp_path: Path, locked: bool
) -> None:
    name, file = f"{faulty.host}/app:later", tmp_path / "lock.json"
    if locked:
        file.write_text(f'{{"version": 1, "images": {{"{name}": "{OLD}"}}}}')
    before = file.read_bytes() if locked else b""
    lock = {"names": [name], "path": str(file), "cache": str(tmp_path / "cache"), "insecure": True, "update": True}
    tasks: list[dict[str, Any]] = [
        {"stowage.engine.image_lock": lock, "register": "locked"},
        {"assert": {"that": told(name, "", {"digest": OLD} if locked else {})}},
    ]
    code, said = play(tasks, "--check")
    assert code == 0, said
    assert f"image {name} is not at its registry; check mode takes it that an earlier task makes it" in said
    assert not (tmp_path / "cache").exists()
    assert (file.read_bytes() if file.exists() else b"") == before
    code, said = play(tasks)
    assert code == 2 and f"image '{name}' is not at its registry" in said and "404" in said
    digest = faulty.put_image("later", layer_of(member("other")))
    tasks[1] = {"assert": {"that": told(name, digest, {"digest": OLD} if locked else {})}}
    for arguments in (("--check",), ()):
        code, said = play(tasks, *arguments)
        assert code == 0 and "WARNING" not in said, said


def test_any_other_answer_is_an_error_in_check_mode_too(play: Play, faulty: FaultyRegistry, tmp_path: Path) -> None:
    faulty.fault("HEAD", "/manifests/1", status(401))
    lock = {"names": [f"{faulty.host}/app:1"], "path": str(tmp_path / "lock.json"), "insecure": True}
    code, said = play([{"stowage.engine.image_lock": lock}], "--check")
    assert code == 2 and "401" in said


def test_what_would_be_locked_by_then_is_had_by_its_name_in_check_mode(
    play: Play, faulty: FaultyRegistry, paths: Paths, tmp_path: Path
) -> None:
    name, file = f"{faulty.host}/app:1", tmp_path / "lock.json"
    lock = {"names": [name], "path": str(file), "cache": str(tmp_path / "cache"), "insecure": True}
    pinned = f"{{{{ lookup('stowage.engine.locked', '{name}', path='{file}') }}}}"
    tasks: list[dict[str, Any]] = [
        {"stowage.engine.image_lock": lock},
        {"stowage.engine.image": {"name": pinned, "insecure": True}, "register": "had"},
        {"assert": {"that": ["had is changed"]}},
    ]
    code, said = play(tasks, "--check")
    assert code == 0, said
    assert f"{file} does not lock {name}; check mode takes it that an earlier task does" in said
    assert not file.exists() and not os.path.exists(paths.root)
    code, said = play(tasks)
    assert code == 0 and "does not lock" not in said, said
    file.unlink()
    code, said = play(tasks[1:])
    assert code == 2 and "there is no lock file" in said


def test_what_an_earlier_task_is_to_push_would_be_sent(
    play: Play, faulty: FaultyRegistry, paths: Paths, tmp_path: Path
) -> None:
    name = f"{faulty.host}/app:later"
    options = {"name": name, "insecure": True, "cache": str(tmp_path / "cache")}
    conditions = [
        "sent is changed",
        "sent.changes[0].change == 'TransferImage'",
        "sent.changes[0].after == {'digest': 'as the registry has it', 'sent': []}",
        "sent.image == {} and sent.sent == {'blobs': 0, 'bytes': 0}",
    ]
    tasks: list[dict[str, Any]] = [
        {"stowage.engine.image_transfer": options, "register": "sent"},
        {"assert": {"that": conditions}},
    ]
    code, said = play(tasks, "--check")
    assert code == 0, said
    assert f"image {name} is not at its registry; check mode takes it that an earlier task makes it" in said
    assert not os.path.exists(paths.root) and not (tmp_path / "cache").exists()
    code, said = play(tasks)
    assert code == 2 and f"on the controller: image '{name}' is not at its registry" in said and "404" in said
    faulty.put_image("later", layer_of(member("other")), config={"os": "linux", "architecture": "amd64"})
    code, said = play(tasks[:1])
    assert code == 0 and "WARNING" not in said, said


def test_an_archive_that_an_earlier_task_is_to_write_would_be_sent(play: Play, paths: Paths, tmp_path: Path) -> None:
    src = str(tmp_path / "later.tar")
    tasks: list[dict[str, Any]] = [
        {"stowage.engine.image_transfer": {"name": "shop/web:1", "src": src}, "register": "sent"},
        {"assert": {"that": ["sent is changed", "sent.changes[0].subject == 'image docker.io/shop/web:1'"]}},
    ]
    code, said = play(tasks, "--check")
    assert code == 0, said
    assert f"archive {src} is not on the controller; check mode takes it that an earlier task makes it" in said
    code, said = play(tasks)
    assert code == 2 and "an archive or a layout that is there" in said


def test_a_directory_that_an_earlier_task_is_to_make_is_taken_for_granted_in_check_mode_alone(
    play: Play, faulty: FaultyRegistry, tmp_path: Path
) -> None:
    directory = tmp_path / "locks"
    lock = {"names": [f"{faulty.host}/app:1"], "path": str(directory / "lock.json"), "insecure": True}
    tasks: list[dict[str, Any]] = [
        {"stowage.engine.image_lock": {**lock, "cache": str(tmp_path / "cache")}, "register": "locked"},
        {"assert": {"that": ["locked is changed"]}},
    ]
    code, said = play(tasks, "--check")
    assert code == 0, said
    assert f"directory {directory} is not on the controller; check mode takes it" in said and not directory.exists()
    code, said = play(tasks)
    assert code == 2 and "a file in a directory that is there" in said
    (tmp_path / "file").touch()
    tasks[0]["stowage.engine.image_lock"]["path"] = str(tmp_path / "file/lock.json")
    code, said = play(tasks, "--check")
    assert code == 2 and "a file in a directory that is there" in said
