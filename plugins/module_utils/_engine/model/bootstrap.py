# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image that a distribution's own program installs out of its packages."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .image import ImageConfig

# The label of an image that has what it was made of; what an image is made of again when it differs.
BOOTSTRAP_LABEL = "io.stowage.bootstrap"


@dataclass(frozen=True)
class Bootstrap:
    """``name`` is the image's, normalised; ``suite`` the distribution's release as ``program`` names it.

    ``program`` is mmdebstrap, debootstrap or dnf; empty: the first of them that the host has. ``variant``,
    ``components``, ``mirrors`` (URLs) and ``keyring`` (a path) are the program's own where they are empty. ``epoch`` is
    the image's date in seconds, and the latest time that a file of it has; None: now. ``force`` makes it anew in any
    case; ``timeout`` is in seconds.
    """

    name: str
    suite: str
    program: str = ""
    variant: str = ""
    packages: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    keyring: str = ""
    config: ImageConfig = ImageConfig()
    epoch: int | None = None
    force: bool = False
    timeout: int = 1800

    @property
    def inputs(self) -> dict[str, object]:
        """What the image is made of, as JSON knows it; what is not said is left out."""
        config = {key: value for key, value in vars(self.config).items() if value not in (None, ())}
        said = {
            "suite": self.suite,
            "program": self.program,
            "variant": self.variant,
            "packages": sorted(set(self.packages)),
            "components": self.components,
            "mirrors": self.mirrors,
            "keyring": self.keyring,
            "source_date_epoch": self.epoch,
            "config": config,
        }
        plain: dict[str, object] = json.loads(json.dumps(said))
        return {key: value for key, value in plain.items() if value not in ("", [], {}, None)}
