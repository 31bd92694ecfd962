#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module network_info: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_info
short_description: Tell of networks on a host
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Reads the networks from the kernel, with addresses, peers and names.
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
  - module: stowage.engine.network
"""

EXAMPLES = r"""
- name: See all networks
  stowage.engine.network_info:
  register: found

- name: See one
  stowage.engine.network_info:
    name: backplane
"""

RETURN = r"""
networks:
  description: The networks as they are on the host now.
  returned: success
  type: list
  elements: dict
  sample:
    - name: backplane
      driver: overlay
      subnet: 10.42.1.0/24
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.network import run_network_info


def main() -> None:
    run_network_info()


if __name__ == "__main__":
    main()
