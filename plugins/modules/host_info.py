#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module host_info: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Tell what a host has and lacks for containers
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Looks at the kernel, the cgroups, Python and the programs of the host, and says for everything that is missing what
    to do.
  - Loads no kernel module and changes nothing.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.info
  - stowage.engine.attributes.root
seealso:
  - module: stowage.engine.host
"""

EXAMPLES = r"""
- name: Look at the host
  stowage.engine.host_info:
  register: host

- name: Stop where something is missing
  ansible.builtin.assert:
    that: not host.failed_checks
    fail_msg: "{{ host.failed_checks }}"
"""

RETURN = r"""
findings:
  description: What was looked at, in order.
  returned: success
  type: list
  elements: dict
  contains:
    check:
      description: What was looked at.
      type: str
      sample: kernel feature overlay
    status:
      description: V(ok), V(warning) (some things will not work) or V(failed) (nothing will).
      type: str
    found:
      description: What was found.
      type: str
    advice:
      description: What to do, where something is missing.
      type: str
failed_checks:
  description: Of the findings that failed, check, found and advice in one line each.
  returned: success
  type: list
  elements: str
warnings_found:
  description: The same of those with a warning.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.engine import run_host_info


def main() -> None:
    run_host_info()


if __name__ == "__main__":
    main()
