# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The specification's JSON schemas (schema/ of runtime-spec 1.3.0, copied as they are; see schema/README.md)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

DIRECTORY = Path(__file__).parent / "schema"


@cache
def registry() -> Registry[Any]:
    """All files, each by its own name, which is how they refer to each other."""
    files = {path.name: json.loads(path.read_text()) for path in DIRECTORY.glob("*.json")}
    return Registry().with_resources((name, Resource(contents, DRAFT4)) for name, contents in files.items())


def validate(name: str, document: Any) -> None:
    """Raise jsonschema.ValidationError where the document does not fit."""
    schema = json.loads((DIRECTORY / name).read_text())
    for key in ("id", "$schema"):
        schema.pop(key, None)
    jsonschema.Draft4Validator(schema, registry=registry()).validate(document)
