#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_policy_info: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_policy_info
short_description: Tell which images a host may have
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Reads the policy that M(stowage.engine.image_policy) has put on the host.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.info
  - stowage.engine.attributes.root
options:
  name:
    description:
      - There is one policy, V(images); what is not that is not told of.
    type: list
    elements: str
    aliases: [names]
seealso:
  - module: stowage.engine.image_policy
"""

EXAMPLES = r"""
- name: See the policy
  stowage.engine.image_policy_info:
  register: found
"""

RETURN = r"""
policies:
  description: The policy of the host; an empty list if it has none of ours.
  returned: success
  type: list
  elements: dict
  sample:
    - name: images
      default:
        - kind: reject
      rules:
        - scope: registry.example.com/shop
          requirements:
            - kind: accept
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_policy import run_image_policy_info


def main() -> None:
    run_image_policy_info()


if __name__ == "__main__":
    main()
