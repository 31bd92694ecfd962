# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The specification's JSON schemas: those in Debian's package of it, or in $STOWAGE_OCI_SCHEMAS.

The latter is the ``schema`` directory of a checkout of runtime-spec. No package of Debian, PyPI or npm has those of 1.3
(looked for in November 2026). Debian's golang-github-opencontainers-specs-dev has in Debian 12 those of the eve of 1.1,
without that of ``features``, in Debian 13 those of 1.2.0, in unstable those of 1.2.1. For a configuration and a state
they all do; what a runtime of 1.3 tells of its features is more than the older ones let it tell.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

DEBIANS = "/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema"
DIRECTORY = Path(os.environ.get("STOWAGE_OCI_SCHEMAS") or DEBIANS)


@cache
def registry() -> Registry[Any]:
    """All files, each by its own name, which is how they refer to each other."""
    files = {path.name: json.loads(path.read_text()) for path in DIRECTORY.glob("*.json")}
    return Registry().with_resources((name, Resource(contents, DRAFT4)) for name, contents in files.items())


def validate(name: str, document: Any) -> None:
    """Raise jsonschema.ValidationError where the document does not fit. Skips where there is no such schema."""
    if not (DIRECTORY / name).exists() or (name == "features-schema.json" and not _are_of_1_3()):
        pytest.skip(
            f"{DIRECTORY} has no {name} of runtime-spec 1.3, and no package of Debian, PyPI or npm does: set "
            "STOWAGE_OCI_SCHEMAS to the schema directory of a checkout"
        )
    schema = json.loads((DIRECTORY / name).read_text())
    for key in ("id", "$schema"):
        schema.pop(key, None)
    jsonschema.Draft4Validator(schema, registry=registry()).validate(document)


def _are_of_1_3() -> bool:
    """Whether they know what came with 1.3."""
    path = DIRECTORY / "features-linux.json"
    return path.exists() and "netDevices" in path.read_text()
