# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of everything that brings images to a host: what their layers may hold."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  max_size:
    description:
      - What the layers of an image that comes to the host may come to, unpacked and together, such as V(20G) or
        V(unlimited). An image of 10 MB can be made to hold 10 GB of zeros.
    type: str
    default: 64G
  max_entries:
    description:
      - How many files and directories the layers of an image that comes to the host may have together.
    type: int
    default: 4000000
  allow_devices:
    description:
      - Whether an image that comes to the host may have device nodes. One that has is refused if not, and the error
        names layer and entry. An image that is on the host already is not looked at again.
    type: bool
    default: true
  allow_setuid:
    description:
      - Whether an image that comes to the host may have files that give rights to whoever runs them, by a set-user-ID
        or set-group-ID bit or by file capabilities. One that has is refused if not, as with O(allow_devices).
      - The bits cannot be taken away instead, since layers are shared by all images and containers of the host;
        C(no_new_privileges) of a container takes their effect away.
    type: bool
    default: true
"""
