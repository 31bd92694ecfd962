#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module cgroup_info: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cgroup_info
short_description: Tell of cgroups on a host
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Reads the control groups of Stowage and their limits from the kernel.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.info
  - stowage.engine.attributes.root
options:
  name:
    description:
      - Tell only of these, as far as they exist. All are told of if this is not given.
    type: list
    elements: str
    aliases: [names]
seealso:
  - module: stowage.engine.cgroup
"""

EXAMPLES = r"""
- name: See all cgroups
  stowage.engine.cgroup_info:
  register: found

- name: See one
  stowage.engine.cgroup_info:
    name: shop
"""

RETURN = r"""
cgroups:
  description: The cgroups as they are on the host now.
  returned: success
  type: list
  elements: dict
  sample:
    - name: shop
      limits:
        memory: 268435456
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.cgroup import run_cgroup_info


def main() -> None:
    run_cgroup_info()


if __name__ == "__main__":
    main()
