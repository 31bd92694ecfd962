# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What builds leave for the next ones, under ``build-cache/``: the layers of steps, and what cache mounts hold.

A step's record is named after all that the step depends on, and says what layer it came to. Its layers are kept from
being swept as long as it is there. No record and no name holds a secret.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os

from ...errors import InvalidImage, InvalidReference, StateCorrupt
from ...linux.files import list_directory, read_json, write_json
from ...model.reference import parse_digest
from .. import diff_ids
from ..manifest import parse_descriptor
from ..store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from typing import Any

    from ...paths import Paths
    from ..manifest import Descriptor

    Layer = tuple[Descriptor, str]

# Records of another version are another engine's, and nobody's here.
_VERSION = 1


class Record:
    """What a step came to: its own ``layer``, None where it changed nothing, on top of those ``below``."""

    def __init__(self, layer: Layer | None, below: Sequence[Layer]) -> None:
        self.layer = layer
        self.below = list(below)

    @property
    def layers(self) -> list[Layer]:
        return [*self.below, *([self.layer] if self.layer else [])]


class StepCache:
    """The records of steps."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._store = Store(paths.images)
        self._directory = os.path.join(paths.build_cache, "steps")

    def find(self, key: str) -> Record | None:
        """The record of a step whose layer is still there, as blob and unpacked."""
        record = _read(os.path.join(self._directory, key + ".json"))
        if record is None or not all(map(self._is_there, [record.layer] if record.layer else [])):
            return None
        return record

    def keep(self, key: str, record: Record, told: str) -> None:
        """Write down what a step came to. Only inside write_store(), which its layers were written in."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        layers = [[descriptor.to_json(), diff_id] for descriptor, diff_id in record.below]
        own = [record.layer[0].to_json(), record.layer[1]] if record.layer else None
        # After a crash it may be gone or empty: then the step is done again.
        write_json(
            os.path.join(self._directory, key + ".json"),
            {"version": _VERSION, "layer": own, "below": layers, "step": told},
            durable=False,
        )

    def used(self, key: str) -> None:
        """Note that a record was of use, for prune_build_cache()."""
        with contextlib.suppress(OSError):
            os.utime(os.path.join(self._directory, key + ".json"))

    def _is_there(self, layer: Layer) -> bool:
        there = os.path.isdir(self._paths.layer(layer[1])) and self._store.has_blob(layer[0])
        return there and diff_ids.is_known(self._store, *layer)


def step_key(*parts: Any) -> str:
    """The name of a record, from all that a step depends on: values that JSON knows."""
    return hashlib.sha256(json.dumps([_VERSION, *parts], sort_keys=True).encode()).hexdigest()


def cached_layers(paths: Paths, without: Container[str] = ()) -> Iterator[Layer]:
    """Every layer that a record names, save those ``without`` (as ``steps/...``): what a sweep has to leave."""
    directory = os.path.join(paths.build_cache, "steps")
    for name in list_directory(directory):
        record = None if f"steps/{name}" in without else _read(os.path.join(directory, name))
        yield from record.layers if record else ()


def _read(path: str) -> Record | None:
    try:
        found = read_json(path)
        if not isinstance(found, dict) or found.get("version") != _VERSION:
            return None
        own = found["layer"]
        return Record(_layer(own) if own else None, [_layer(values) for values in found["below"]])
    except (StateCorrupt, InvalidImage, InvalidReference, KeyError, TypeError, ValueError):
        return None  # what a crash left of it


def _layer(values: Sequence[Any]) -> Layer:
    document, diff_id = values
    return parse_descriptor(document, "a layer of the build cache"), parse_digest("diff_id", diff_id)
