# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that speak with registries alone run as an ordinary user, as their documentation says."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import layer_of, member
from .faulty import FaultyRegistry
from .plays import Play
from .test_trust import KEY

pytestmark = pytest.mark.root

NOBODY = 65534


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that an ordinary user reaches."""
    directory = Path(f"/dev/shm/stowage-without-root-{os.getpid()}")
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


def test_locking_signing_and_verifying(home: Path) -> None:
    play = Play(home, Paths("/nonexistent/lib", "/nonexistent/run"), user=NOBODY, python=sys.executable)
    os.chown(home, NOBODY, NOBODY)
    with FaultyRegistry() as registry:
        name, digest = f"{registry.host}/app:1", registry.put_image("1", layer_of(member("file")))
        image: dict[str, Any] = {"name": name, "insecure": True}
        code, said = play(
            [
                {"command": "id -u", "register": "who", "failed_when": f"who.stdout != '{NOBODY}'"},
                {"stowage.engine.image_lock": {**image, "path": str(home / "lock.json")}},
                {"stowage.engine.image_sign": {**image, "private_key": KEY.pem}},
                {"stowage.engine.image_verify": {**image, "keys": [KEY.public]}, "register": "verified"},
                {"assert": {"that": [f"verified.digest == '{digest}'"]}},
            ]
        )
    assert code == 0, said
    assert json.loads((home / "lock.json").read_text())["images"] == {name: digest}
    assert (home / "lock.json").stat().st_uid == NOBODY and not os.path.exists("/nonexistent")
