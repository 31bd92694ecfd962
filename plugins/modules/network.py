#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module network: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network
short_description: Manage container networks, on one host or across many
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has a network on the host as it is wanted, or removes it.
  - A V(bridge) network joins containers of one host. An V(overlay) network joins those of many hosts over VXLAN; its
    peers are
    told to every host (role P(stowage.engine.network#role) computes them from the inventory), so that nothing gossips
    or elects.
  - What differs is read from the kernel, so what was changed by hand is seen and repaired, in place where that is
    possible.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
options:
  name:
    description:
      - The network's name.
    type: str
    required: true
  state:
    description:
      - Whether the network is to be there. Removing one that containers are on is refused.
    type: str
    choices: [present, absent]
    default: present
  driver:
    description:
      - Whether the network stays on the host or spans many.
    type: str
    choices: [bridge, overlay]
    default: bridge
  subnet:
    description:
      - This host's part of the network, such as V(10.42.1.0/24). Required unless O(state=absent).
    type: str
  gateway:
    description:
      - The bridge's address in O(subnet); the second of the subnet if not given.
    type: str
  pool:
    description:
      - The whole of an overlay, such as V(10.42.0.0/16), of which every host has a part. Required for
        O(driver=overlay).
    type: str
  mtu:
    description:
      - The largest packet, in bytes. 1500 for a bridge and 50 less than the underlay's for an overlay if not given.
    type: int
  vni:
    description:
      - The overlay's number, 1 to 16777215, the same on every host. Required for O(driver=overlay).
    type: int
  address:
    description:
      - This host's own address on the underlay, to which its peers send. Required for O(driver=overlay).
    type: str
  device:
    description:
      - The link over which an overlay runs; the one that has O(address) if not given.
    type: str
  port:
    description:
      - The UDP port of VXLAN.
    type: int
    default: 4789
  peers:
    description:
      - The other hosts of an overlay.
    type: list
    elements: dict
    suboptions:
      name:
        description: Who it is, for the reader.
        type: str
      subnet:
        description: That host's part of the network.
        type: str
        required: true
      address:
        description: That host's address on the underlay.
        type: str
        required: true
  names:
    description:
      - Names that every container of the network can look up, as name to address. The host's own containers need not be
        told.
    type: dict
  masquerade:
    description:
      - Whether what leaves the network gets the host's address.
    type: bool
    default: true
seealso:
  - module: stowage.engine.network_info
  - module: stowage.engine.containers
"""

EXAMPLES = r"""
- name: Have a network for the containers of this host
  stowage.engine.network:
    name: frontend
    subnet: 10.88.0.0/24

- name: Have an overlay over two hosts, seen from the first
  stowage.engine.network:
    name: backplane
    driver: overlay
    vni: 42
    pool: 10.42.0.0/16
    subnet: 10.42.1.0/24
    address: 192.0.2.11
    peers:
      - name: node-b
        subnet: 10.42.2.0/24
        address: 192.0.2.12
    names:
      web: 10.42.1.10
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
      sample: UpdateNetwork
    subject:
      description: What is changed.
      type: str
      sample: network backplane
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description: What differs, as it is wanted.
      type: dict
    summary:
      description: The change in one line.
      type: str
network:
  description: The network as it is on the host now; empty if it is absent.
  returned: success
  type: dict
  sample:
    name: backplane
    driver: overlay
    subnet: 10.42.1.0/24
    gateway: 10.42.1.1
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.network import run_network


def main() -> None:
    run_network()


if __name__ == "__main__":
    main()
