#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module containers: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: containers
short_description: Manage many containers in one task
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has containers on the host as they are wanted, or removes them, in one run - one connection, one look at the host,
    and one
    plan. Those that need nothing are left alone.
  - Every entry takes the options of M(stowage.engine.container). All entries are checked before anything is changed.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.container.list
seealso:
  - module: stowage.engine.container
  - module: stowage.engine.container_info
"""

EXAMPLES = r"""
- name: Run a shop
  stowage.engine.containers:
    containers:
      - name: web
        image: site:1
        networks:
          - name: backplane
        published_ports: ["8080:80"]
      - name: worker
        image: worker:7
        networks:
          - name: backplane
        env:
          QUEUE: "http://web/queue"
        userns: auto
        cap_drop: [ALL]

- name: Look at what a database does from a container beside it
  stowage.engine.containers:
    containers:
      - name: db
        image: db:1
      - name: profiler
        image: profiler:1
        pid_mode: "container:db"
        ipc_mode: "container:db"
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
      sample: CreateContainer
    subject:
      description: What is changed.
      type: str
      sample: container web
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description: What differs, as it is wanted.
      type: dict
    summary:
      description: The change in one line.
      type: str
containers:
  description:
    - The containers as they are on the host now.
    - In the order asked for; absent ones are left out.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web
      image: docker.io/library/site:1
      running: true
      changed: false
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.container import run_containers


def main() -> None:
    run_containers()


if __name__ == "__main__":
    main()
