#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module container_info: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_info
short_description: Tell of containers on a host
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Reads the containers of the host, running or not, with their limits, addresses and process.
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
  - module: stowage.engine.container
"""

EXAMPLES = r"""
- name: See all containers
  stowage.engine.container_info:
  register: found

- name: See one
  stowage.engine.container_info:
    name: web
"""

RETURN = r"""
containers:
  description: The containers as they are on the host now.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web
      running: true
      pid: 4711
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.container import run_container_info


def main() -> None:
    run_container_info()


if __name__ == "__main__":
    main()
