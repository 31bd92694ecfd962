# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules promise: check mode, diff mode, idempotence, platform; and, most of them, what they need for it."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no
      change.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: Linux
  action_group:
    description: Use C(group/stowage.engine.all) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - stowage.engine.all
options: {}
requirements:
  - Python 3.9 or newer
"""

    INFO = r"""
attributes:
  check_mode:
    support: full
    details:
      - This module only reads.
  diff_mode:
    support: N/A
    details:
      - This module only reads.
  idempotent:
    support: full
options: {}
"""

    NOUN = r"""
attributes:
  check_mode:
    support: full
    details:
      - The same plan is printed in check mode and applied in a real run. Check mode writes nothing at all.
      - What is asked for and is not on the host, such as an image, a network, a directory or a device, may be the work
        of an earlier task, which did nothing in check mode either. So it is taken for granted, with a warning; a real
        run refuses it before anything is changed.
  diff_mode:
    support: full
  idempotent:
    support: full
options: {}
"""

    ROOT = r"""
options: {}
requirements:
  - Linux 5.3 or newer, and root
"""
