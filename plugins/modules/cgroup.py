#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module cgroup: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cgroup
short_description: Manage control groups and their limits
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has a control group on the host with the limits that are wanted, or removes it. Containers that name it as their
    O(stowage.engine.container#module:cgroup_parent) share these limits.
  - Limits are compared with what the kernel holds now. Those that are not given are left as they are.
  - Works with version 1, hybrid and version 2 hierarchies. Where systemd manages the host, the cgroup is a slice of
    systemd's.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.limits
options:
  name:
    description:
      - The cgroup's name, or a path of names joined by V(/).
    type: str
    required: true
  state:
    description:
      - Whether the cgroup is to be there. Removing one that still holds processes is refused.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: stowage.engine.cgroup_info
  - module: stowage.engine.container
"""

EXAMPLES = r"""
- name: Let all containers of a shop have half a CPU and 256 MiB together
  stowage.engine.cgroup:
    name: shop
    memory: 256M
    cpus: 0.5
    pids_limit: 200

- name: Take the memory limit away again
  stowage.engine.cgroup:
    name: shop
    memory: unlimited
"""

RETURN = r"""
changes:
  description: What was changed, or in check mode would be, in order.
  returned: success
  type: list
  elements: dict
  contains:
    change:
      description: The kind of change.
      type: str
      sample: SetLimits
    subject:
      description: What is changed.
      type: str
      sample: cgroup shop
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description: What differs, as it is wanted.
      type: dict
    summary:
      description: The change in one line.
      type: str
cgroup:
  description: The cgroup as it is on the host now, limits in the kernel's units (bytes, microseconds); -1 is unlimited.
  returned: success
  type: dict
  sample:
    name: shop
    path: shop
    limits:
      memory: 268435456
      cpu_quota: 50000
      pids: 200
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.cgroup import run_cgroup


def main() -> None:
    run_cgroup()


if __name__ == "__main__":
    main()
