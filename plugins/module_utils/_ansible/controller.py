# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the controller, as whoever runs Ansible: its depot of images, out of a task's options."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from .._engine.depot import Depot, Source, write_lock_file
from .._engine.errors import InvalidOption
from .._engine.model.platform import parse_platform
from .._engine.model.reference import normalise, parse_digest
from .._engine.progress import Progress
from .nouns.registry import REGISTRY_OPTIONS, parse_access

_EVERY = 2.0  # seconds between lines

LOCK_SPEC: dict[str, Any] = {
    "path": {"type": "path", "default": "images.lock.json"},
    "names": {"type": "list", "elements": "str", "required": True, "aliases": ["name"]},
    "state": {"type": "str", "choices": ["locked", "absent"], "default": "locked"},
    "update": {"type": "bool", "default": False},
    "cache": {"type": "path"},
    **REGISTRY_OPTIONS,
}


def open_depot(params: Mapping[str, Any]) -> Depot:
    """The depot that a task names, or this user's own. Raises InvalidOption, where it could not be written too."""
    days = params.get("cache_days") or 0
    if days < 0:
        raise InvalidOption("cache_days", days, "a number of days, 0 to keep everything")
    own = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "stowage")
    root = os.path.abspath(params.get("cache") or own)
    there = root
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
        raise InvalidOption("cache", root, f"a directory that this user can write on the controller; {there} is none")
    return Depot(root, days)


def parse_source(params: Mapping[str, Any], name: str, *, task: str, check: bool) -> Source:
    """What the controller is to offer under ``name``. Raises InvalidOption."""
    platform, verified = params.get("platform"), params.get("verified_digest")
    return Source(
        name=normalise("name", name),
        access=parse_access(params),
        src=params.get("src") or "",
        platform=str(parse_platform("platform", platform)) if platform is not None else "",
        always=params.get("pull") == "always",
        task=task,
        verified=parse_digest("verified_digest", verified) if verified else "",
        keep=not check,
    )


def progress_of(what: str, total: int, show: Callable[[str], None]) -> Progress:
    """How far something of ``total`` bytes is, for whoever watches the play: one counter's worth."""
    progress = Progress(what, total, 1, show, interval=_EVERY)
    show(progress.line())
    return progress


def write_lock(path: str, locked: Mapping[str, str]) -> None:
    """Write a lock file, whole or not at all; it keeps its mode. Raises InvalidOption where that cannot be."""
    try:
        write_lock_file(path, locked)
    except OSError as error:
        raise InvalidOption("path", path, f"a file that can be written ({error.strerror})") from error
