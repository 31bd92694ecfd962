# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that a Containerfile is expanded with before its stages have any: what a build is given, what was
declared in front of the first FROM, and the platforms (Dockerfile reference, "Automatic platform ARGs").
"""

from __future__ import annotations

from ...errors import InvalidContainerfile, InvalidOption
from ...model.platform import parse_platform
from ..platform import host_platform
from .containerfile_instructions import Onbuild, Pairs
from .containerfile_words import expand
from .stage import PROXIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...model.build import Build
    from .containerfile_instructions import Containerfile
    from .stage import StageState

_LATEST = 253402300799  # the last second of the year 9999, beyond which dates of RFC 3339 do not go
_ALWAYS = {"SOURCE_DATE_EPOCH", "BUILDKIT_SYNTAX"}


def epoch_of(build: Build) -> int | None:
    """The build's epoch, or what an argument says in its place, as it does to BuildKit. Raises InvalidOption."""
    text = dict(build.args).get("SOURCE_DATE_EPOCH", "")
    if build.epoch is not None or not text:
        return build.epoch
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > _LATEST:
        raise InvalidOption("SOURCE_DATE_EPOCH", text, f"seconds since 1970, from 0 to {_LATEST}")
    return int(text)


class Arguments:
    """ARG, in front of the first FROM and in stages."""

    def __init__(self, build: Build, file: Containerfile) -> None:
        self._given = dict(build.args)
        self._file = file
        self.platforms = platform_variables(build)
        self.everywhere = dict(self.platforms)
        for instruction in file.arguments:
            for name, default in instruction.pairs:
                value = self._given.get(name, default)
                if value is not None and name not in self._given:
                    try:
                        value = expand(value, self.everywhere, file.escape)
                    except ValueError as error:
                        raise InvalidContainerfile(file.file, instruction.line, str(error)) from error
                if value is not None:
                    self.everywhere[name] = value

    def declare(self, state: StageState, instruction: Pairs) -> None:
        """ARG in a stage: the value that the build was given, or the default, or what was declared before FROM."""
        for name, default in instruction.pairs:
            value = self._given.get(name)
            if value is None and default is not None:
                value = state.expand(default)
            state.set_argument(name, self.everywhere.get(name) if value is None else value)

    def unused(self) -> list[str]:
        """The names that the build was given and that no ARG declares: most likely misspelt."""
        declared = {*PROXIES, *self.platforms, *_ALWAYS, *self._declared()}
        has_triggers = any(isinstance(step, Onbuild) for stage in self._file.stages for step in stage.instructions)
        return [] if has_triggers else [name for name in self._given if name not in declared]

    def _declared(self) -> Iterator[str]:
        steps = (step for stage in self._file.stages for step in stage.instructions)
        for step in (*self._file.arguments, *steps):
            if isinstance(step, Pairs) and step.name == "ARG":
                yield from (name for name, _default in step.pairs)


def platform_variables(build: Build) -> dict[str, str]:
    """BUILDPLATFORM, TARGETOS and their like."""
    target = parse_platform("platform", build.platform) if build.platform else host_platform()
    found = {}
    for prefix, platform in (("BUILD", host_platform()), ("TARGET", target)):
        found[f"{prefix}PLATFORM"] = str(platform)
        found[f"{prefix}OS"] = platform.os
        found[f"{prefix}ARCH"] = platform.architecture
        found[f"{prefix}VARIANT"] = platform.variant
    return found
