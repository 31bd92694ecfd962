# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module out of the engine that a host has installed, so that Ansible ships neither.

With the engine in it, a module's zip is six times as large as without: Ansible takes longer to put it together, to send
it and to unpack it than the module takes to do its work. So the action plugin (plugins/action/installed.py) first has
this run in the module's place, with the same parameters; where the host does not have the very same files, it says so,
and the module is shipped whole. What this imports is all that travels: nothing of the engine but its paths.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn

from .sources import use_installed_engine

# How the action plugin says what is to be run: module@digest.
VARIABLE = "STOWAGE_INSTALLED"
# The key of the answer that says that the host does not have it.
MISSING = "stowage_engine_missing"
# Modules whose noun has another name.
_NOUNS = {"containers": "container", "host": "engine", "image_verify": "image_sign"}


def is_asked() -> bool:
    """Whether the action plugin asks for a module."""
    return VARIABLE in os.environ


def run_installed() -> NoReturn:
    """Be the module that VARIABLE names, or answer that it is not to be had here."""
    module, _at, digest = os.environ.pop(VARIABLE).partition("@")
    if not use_installed_engine(digest):
        sys.stdout.write(json.dumps({"changed": False, MISSING: True}))
        raise SystemExit(0)
    find_module(module)()


def find_module(module: str) -> Callable[[], NoReturn]:
    """What a module runs: ``run_<module>()`` of its noun's file."""
    noun = module.removesuffix("_info")
    found = import_module(f".nouns.{_NOUNS.get(noun, noun)}", __package__)
    run: Callable[[], NoReturn] = getattr(found, f"run_{module}")
    return run
