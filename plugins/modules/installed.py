#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module installed: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: installed
short_description: Run another module of this collection out of the engine that a host has installed
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - The other modules of this collection run by way of this one where the host has the same engine installed already, so
    that Ansible need not send it along. That happens by itself, and this module is not for playbooks.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: none
    details:
      - It does as the module does that runs by way of it.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: Linux
options: {}
seealso:
  - module: stowage.engine.host
"""

EXAMPLES = r"""
- name: This module is for the others, it refuses to run by itself
  stowage.engine.installed:
  ignore_errors: true
"""

RETURN = r"""
stowage_engine_missing:
  description: Whether the host has no such engine. The module is sent whole then.
  returned: to the action plugin, where it is so
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.stowage.engine.plugins.module_utils._ansible.installed import is_asked, run_installed


def main() -> None:
    if is_asked():
        run_installed()
    else:
        AnsibleModule({}).fail_json(msg="this module is how others of its collection run; use those")


if __name__ == "__main__":
    main()
