# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an image came to be, and how layers lie on one another."""

from __future__ import annotations

from typing import NamedTuple


class HistoryStep(NamedTuple):
    """One step (image-spec, config.md: ``history``). ``layer`` is its diff_id; empty: it made none.

    ``stored`` and ``unpacked`` are bytes on disk, of the blob and of the directory.
    """

    created: str = ""
    created_by: str = ""
    comment: str = ""
    layer: str = ""
    stored: int = 0
    unpacked: int = 0


class LayerNode(NamedTuple):
    """A layer over those that it lies on. ``images`` are the names whose topmost layer it is."""

    layer: str
    stored: int
    unpacked: int
    images: tuple[str, ...]
    above: tuple[LayerNode, ...]
