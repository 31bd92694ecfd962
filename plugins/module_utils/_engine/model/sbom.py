# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bill of materials of an image, as a file of the host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sbom:
    """``digest`` is that of the file's content; empty in a desired state: not known yet. ``packages`` counts them."""

    path: str
    image: str = ""
    format: str = ""
    digest: str = ""
    packages: int = 0
