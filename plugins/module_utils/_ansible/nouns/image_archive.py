# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of images: what module ``image_archive`` writes and loads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.archive import COMPRESSIONS, DOCKER_ARCHIVE, FORMATS, OCI_ARCHIVE, OCI_DIRECTORY, Archive
from ..._engine.model.image import Image, Limits
from ..._engine.model.reference import normalise
from ..._engine.plan.archive import plan_export, plan_load
from ..._engine.plan.change import Change
from ..run import Noun, Wanted, run
from .image import ImageNoun
from .image_limits import LIMIT_OPTIONS, parse_image_limits

ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "names": {"type": "list", "elements": "str", "aliases": ["name"]},
    "state": {"type": "str", "choices": ["exported", "loaded"], "required": True},
    "format": {"type": "str", "choices": list(FORMATS)},
    "compression": {"type": "str", "choices": list(COMPRESSIONS)},
    **LIMIT_OPTIONS,
}


def archive_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {path: Archive}, with the images' names and no digests yet."""
    path, names = _path(params), params["names"]
    if not names:
        raise InvalidOption("names", names, "the names of the images to export")
    kind, compression = params["format"] or OCI_ARCHIVE, params["compression"] or "none"
    if kind == OCI_DIRECTORY and compression != "none":
        raise InvalidOption("compression", compression, f"none: {OCI_DIRECTORY} is a directory")
    whole = sorted({normalise("names", name) for name in names})
    for name in whole:
        if kind == DOCKER_ARCHIVE and "@" in name:
            raise InvalidOption("names", name, f"names with a tag alone: a {DOCKER_ARCHIVE} has no others")
    return {path: Archive(path, kind, compression, tuple((name, "") for name in whole))}


def load_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {name: Image}; none for all that the archive has."""
    _path(params)
    for option in ("format", "compression"):
        if params[option] is not None:
            raise InvalidOption(option, params[option], "nothing: what is loaded tells its own")
    return {name: Image(name) for name in (normalise("names", name) for name in params["names"] or ())}


def _path(params: Mapping[str, Any]) -> str:
    path: str = params["path"]
    if not os.path.isabs(path):
        raise InvalidOption("path", path, "an absolute path on the host")
    return os.path.normpath(path)


class ArchiveNoun(Noun):
    name = "archive"

    def __init__(self, path: str) -> None:
        self.path = os.path.normpath(path)

    def observe(self, host: Host) -> Mapping[str, Archive]:
        found = host.observe_archive(self.path)
        return {self.path: found} if found is not None else {}

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        return {path: host.resolve_archive(archive) for path, archive in wanted.items()}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for path, archive in desired.items():
            yield from plan_export(archive, current.get(path))

    def tell(self, thing: Archive) -> dict[str, Any]:
        return {**super().tell(thing), "images": [{"name": name, "digest": digest} for name, digest in thing.images]}


class LoadNoun(ImageNoun):
    """Images that are to come out of an archive."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = os.path.normpath(path)
        self.limits = Limits()

    def parse(self, params: Mapping[str, Any]) -> Wanted:
        """What the archive may hold is for all of its images, named or not."""
        self.limits = parse_image_limits(params)
        return load_wanted(params)

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        images = host.resolve_load(self.path, tuple(wanted))
        return {name: replace(image, limits=self.limits) for name, image in images.items()}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, image in desired.items():
            yield from plan_load(image, current.get(name), self.path)


# The module ---------------------------------------------------------------------------------------


def run_image_archive() -> NoReturn:
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    path = module.params["path"]
    if module.params["state"] == "exported":
        run(module, ArchiveNoun(path), archive_wanted)
    noun = LoadNoun(path)
    run(module, noun, noun.parse, many=True)
