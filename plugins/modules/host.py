#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module host: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host
short_description: Install the engine on a host
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Puts the engine and the commands C(stowage) and C(stowage-runtime) on the host, or removes them. Role
    P(stowage.engine.host#role) does this after a look at what the host has and lacks.
  - A new version stands beside the old; running containers keep the one that they were started with.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
options:
  state:
    description:
      - Whether the engine is to be there. Removing it from a host that has containers is refused.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description:
      - Where the commands go.
    type: path
    default: /usr/local/bin
seealso:
  - module: stowage.engine.host_info
"""

EXAMPLES = r"""
- name: Have the engine and its commands
  stowage.engine.host:
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
      sample: InstallEngine
    subject:
      description: What is changed.
      type: str
      sample: engine
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description: What differs, as it is wanted.
      type: dict
    summary:
      description: The change in one line.
      type: str
engine:
  description: The engine as it is on the host now; empty if it is absent.
  returned: success
  type: dict
  sample:
    name: engine
    digest: 4f2d0c3b9a817e65
    directory: /usr/local/bin
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.engine import run_host


def main() -> None:
    run_host()


if __name__ == "__main__":
    main()
