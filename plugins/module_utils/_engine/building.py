# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are built on this host: where image and runtime meet."""

from __future__ import annotations

import os

from .errors import NotFound
from .image.build.builder import Builder
from .linux.files import exclusive_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .model.build import Build, Forecast
    from .paths import Paths

    Tell = Callable[[str], None]


def forecast_build(paths: Paths, build: Build) -> Forecast:
    """What building would come to. Only reads. Raises InvalidContainerfile, InvalidOption, NotFound, RegistryError."""
    _check(build)
    return Builder(paths, build).forecast()


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
