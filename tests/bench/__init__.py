# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks against peers: `make bench`. A file each, with a TITLE, a NOTE and measure(), which yields rows."""

import sys
from pathlib import Path

# Where `make` links the collection; pytest has it from pyproject.toml.
sys.path.insert(0, str(Path(__file__).parents[2] / "build" / "collections"))
