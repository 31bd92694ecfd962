# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a fleet could not be made, reached or taken down."""

from __future__ import annotations


class FleetError(Exception):
    """Says what failed, on which host or path, and what to do next."""
