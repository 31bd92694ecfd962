# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Stowage engine: plain Python, no Ansible in it. This package is what engine.pyz holds."""

from __future__ import annotations

import sys

if sys.version_info < (3, 9):  # noqa: UP036 - before anything fails in words that help nobody
    raise ImportError(
        f"Stowage needs Python 3.9 or later on the host, and {sys.executable} is {sys.version.split()[0]}; where there "
        "is a later one, name it in ansible_python_interpreter"
    )
