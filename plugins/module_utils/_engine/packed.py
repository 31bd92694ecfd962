# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules out of one file: a container's start imports sixty, and to find each takes longer than to run it.

A pack is a header, marshalled and preceded by a line that tells its length, and then each module's code, marshalled.
The header is the code of this very module, and an index: name to (offset, size, path of the source). ``__main__.py``
runs it before anything of ours is imported; _ansible/install.py writes it. Python finds what is not in the pack, and
everything where there is no pack for its version, by the usual path.
"""

from __future__ import annotations

import os
import sys
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    Index = Mapping[str, tuple[int, int, str]]


class PackedModules:
    """A finder and loader (importlib.abc) of what ``pack`` has from ``start`` on; sources are told in ``directory``."""

    def __init__(self, pack: str, start: int, index: Index, directory: str) -> None:
        self._pack = pack
        self._start = start
        self._index = index
        self._directory = directory

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        """Where ``name`` is to be had; None where it is none of ours."""
        found = self._index.get(name)
        if found is None:
            return None
        source = f"{self._directory}/{found[2]}"
        make_spec: type[ModuleSpec] = type(sys.__spec__)  # importlib.machinery takes 3 ms to import
        package = source.endswith("/__init__.py")
        spec = make_spec(name, self, origin=source, is_package=package)  # type: ignore[arg-type]
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [source.rpartition("/")[0]]
        return spec

    def create_module(self, _spec: ModuleSpec) -> None:
        """The usual kind."""

    def exec_module(self, module: ModuleType) -> None:
        """Run its code."""
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        """The code of one module. Raises ImportError where the pack is gone."""
        offset, size, _source = self._index[name]
        try:
            fd = os.open(self._pack, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ImportError(f"cannot import {name}: {error}") from error
        try:
            code: CodeType = loads(os.pread(fd, size, self._start + offset))
            return code
        finally:
            os.close(fd)


def use_pack(pack: str, start: int, index: Index, directory: str) -> None:
    """Import from the pack first."""
    sys.meta_path.insert(0, PackedModules(pack, start, index, directory))
