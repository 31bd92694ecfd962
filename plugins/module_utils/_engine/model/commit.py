# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container has changed in its root, wanted as an image."""

from __future__ import annotations

from dataclasses import dataclass

from .image import ImageConfig


@dataclass(frozen=True)
class Commit:
    """``name`` is the image's, normalised. ``config`` goes over that of the container's image, ``comment`` into its
    history. ``epoch`` is in seconds, None where nobody said one: then files get the epoch itself, the image no date.
    """

    name: str
    container: str
    config: ImageConfig = ImageConfig()
    comment: str = ""
    epoch: int | None = None
