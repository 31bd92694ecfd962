# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Ansible meets the engine: arguments, the reconcile cycle, and the engine's installation."""

from .sources import prefer_installed_engine

prefer_installed_engine()  # before anything imports the engine
