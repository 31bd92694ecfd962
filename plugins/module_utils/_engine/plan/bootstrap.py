# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has an image that a distribution's packages make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from ..model.bootstrap import BOOTSTRAP_LABEL, Bootstrap
from ..model.image import Image
from .change import Change, Fields


@dataclass(frozen=True)
class BootstrapImage(Change):
    """Installs a distribution's packages into an empty root, and makes an image of it."""

    bootstrap: Bootstrap
    current: Image | None

    @property
    def subject(self) -> str:
        return f"image {self.bootstrap.name}"

    @property
    def before(self) -> Fields:
        if self.current is None:
            return {}
        missing = {"missing_layers": list(self.current.missing)} if self.current.missing else {}
        return {"digest": self.current.digest, **missing, **self._differing(_recorded(self.current))}

    @property
    def after(self) -> Fields:
        return {"digest": "known once the packages are installed", **self._differing(self.bootstrap.inputs)}

    def _differing(self, side: Fields) -> Fields:
        recorded, wanted = _recorded(self.current), self.bootstrap.inputs
        return {key: value for key, value in side.items() if recorded.get(key) != wanted.get(key)}


def plan_bootstrap(bootstrap: Bootstrap, current: Image | None) -> Iterator[Change]:
    """Yield what makes the image, where it is not there, is not whole, was made of something else, or is forced."""
    as_wanted = current is not None and not current.missing and _recorded(current) == bootstrap.inputs
    if not as_wanted or bootstrap.force:
        yield BootstrapImage(bootstrap, current)


def _recorded(image: Image | None) -> Fields:
    """What the image says that it was made of."""
    label = dict(image.config.labels).get(BOOTSTRAP_LABEL, "") if image else ""
    try:
        found = json.loads(label)
    except ValueError:  # it is another's
        return {}
    return found if isinstance(found, dict) else {}
