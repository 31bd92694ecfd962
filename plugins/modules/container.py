#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module container: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container
short_description: Manage a container
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has a container on the host as it is wanted, or removes it. For more than one, M(stowage.engine.containers) is
    faster.
  - Limits, published ports, names and labels change while the container runs. What its process was started with takes
    another
    process, so the container is made anew; the plan says because of what.
  - A running container needs no service of Stowage's; a small monitor stays with it, keeps its log and its exit code.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.container
seealso:
  - module: stowage.engine.container_info
  - module: stowage.engine.containers
  - module: stowage.engine.image
  - module: stowage.engine.network
"""

EXAMPLES = r"""
- name: Run a web server that the network can reach on port 8080
  stowage.engine.container:
    name: web
    image: site:1
    networks:
      - name: backplane
    published_ports: ["8080:80"]
    memory: 64M
    read_only: true

- name: Give it more memory while it runs
  stowage.engine.container:
    name: web
    image: site:1
    networks:
      - name: backplane
    published_ports: ["8080:80"]
    memory: 128M
    read_only: true

- name: Run a program whose root is an ordinary user of the host, that may do next to nothing
  stowage.engine.container:
    name: worker
    image: site:1
    userns: auto
    cap_drop: [ALL]
    read_only: true
    tmpfs: [/tmp]
    init: true
    ulimits: ["nofile:1024:4096"]
    sysctls:
      net.core.somaxconn: 1024
    oom_score_adj: 500

- name: Run one that needs a device and more rights
  stowage.engine.container:
    name: tunnel
    image: site:1
    cap_add: [NET_ADMIN]
    devices: [/dev/net/tun]
    shm_size: 128M

- name: Run one on another OCI runtime
  stowage.engine.container:
    name: elsewhere
    image: site:1
    runtime: runc

- name: Remove the first
  stowage.engine.container:
    name: web
    state: absent
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
container:
  description: The container as it is on the host now; empty if it is absent.
  returned: success
  type: dict
  sample:
    name: web
    image: docker.io/library/site:1
    running: true
    pid: 4711
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.container import run_container


def main() -> None:
    run_container()


if __name__ == "__main__":
    main()
