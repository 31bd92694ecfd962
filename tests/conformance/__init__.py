# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each item of the OCI runtime specification's Linux part as a test of a runtime's command line."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "build" / "collections"))
