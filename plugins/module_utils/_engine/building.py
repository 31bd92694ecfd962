# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are built on this host: where image and runtime meet."""

from __future__ import annotations

import os

from .errors import InvalidOption, NotFound
from .image.build.builder import Builder
from .linux.files import exclusive_lock
from .model.build import MAX_SECRET, Forecast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .model.build import Build
    from .paths import Paths

    Absent = Callable[[NotFound], None]
    Tell = Callable[[str], None]


def forecast_build(paths: Paths, build: Build, absent: Absent | None = None) -> Forecast:
    """What building would come to. Only reads. ``absent`` is told of a context or Containerfile that is not there.

    Raises InvalidContainerfile, InvalidOption, RegistryError, and NotFound if nobody takes that.
    """
    try:
        _check(build)
        return Builder(paths, build).forecast()
    except NotFound as error:
        if absent is None:
            raise
        absent(error)
        return Forecast()


def build_image(paths: Paths, build: Build, tell: Tell = lambda _line: None) -> str:
    """Build, and let ``build.name`` mean the image; its digest. ``tell`` gets steps and their output, line by line.

    One build at a time; it does not hold up what else is done on the host. Raises BuildFailed too.
    """
    from .build_steps import StepRunner  # the runtime: a forecast does without

    _check(build)
    with exclusive_lock(paths.build_lock):
        runner = StepRunner(paths, tell)
        runner.clear()
        return Builder(paths, build, runner=runner.run, tell=tell).make()


def _check(build: Build) -> None:
    if build.context and not os.path.isdir(build.context):
        raise NotFound("directory", build.context, "it is the context of the build; make it first")
    for secret in build.secrets:
        if secret.path and not os.path.isfile(secret.path):
            raise NotFound("file", secret.path, f"it is the secret {secret.id!r} of the build; make it first")
        size = os.path.getsize(secret.path) if secret.path else len(secret.value)
        if size > MAX_SECRET:
            raise InvalidOption(f"secret {secret.id}", f"{size} bytes", f"at most {MAX_SECRET} bytes")
