#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_commit: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_commit
short_description: Make an OCI image out of a container
version_added: 0.2.0
author: Stowage contributors (@stowage)
description:
  - Makes an image out of what a container of this host has changed in its root, as one more layer on the image that the
    container was made from. This is how a playbook builds an image; its tasks change the container through the
    connection plugin P(stowage.engine.container#connection).
  - A container that runs is paused while it is read, in check mode too. One that was stopped can be committed as well.
  - Nothing that is mounted in the container gets into the image. That is volumes, C(tmpfs), and files that the engine
    provides, such as C(/etc/resolv.conf) and C(/etc/hosts).
  - What the container itself was told to run is not taken over; O(config) says what the image's containers run.
  - The digest depends on files, owners, modes, O(config), O(comment) and O(source_date_epoch) alone, not on the
    container's name, nor on when. So a container that has not changed gives the image that is there, and check mode
    tells truly whether there is anything to do, and the digest.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.image_config
options:
  container:
    description:
      - The container, by its name on this host.
    type: str
    required: true
  name:
    description:
      - The image's name, with a tag. Short names mean what they mean to Docker.
    type: str
    required: true
  comment:
    description:
      - A comment for the image's history.
    type: str
  source_date_epoch:
    description:
      - The image's date, in seconds since 1970, and the latest time that any file of the new layer has.
      - Without it, the environment's E(SOURCE_DATE_EPOCH) counts; without both, files get the epoch itself, and the
        image has no date.
    type: int
seealso:
  - plugin: stowage.engine.container
    plugin_type: connection
  - module: stowage.engine.container
  - module: stowage.engine.image_build
"""

EXAMPLES = r"""
- name: Make an image out of what a container has become
  stowage.engine.image_commit:
    container: frontend-build
    name: shop/frontend:1.4
    config:
      command: [nginx, -g, daemon off;]
      exposed_ports: [80/tcp]
    comment: Built by build.yml

- name: See whether the container has changed since
  stowage.engine.image_commit:
    container: frontend-build
    name: shop/frontend:1.4
  check_mode: true
  register: drift
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
      sample: CommitContainer
    subject:
      description: What is changed.
      type: str
      sample: image docker.io/shop/frontend:1.4
    before:
      description:
        - What differs, as it was found.
        - The image.
      type: dict
    after:
      description:
        - What differs, as it is wanted.
        - The image as it is made, and the container that it is made of.
      type: dict
    summary:
      description: The change in one line.
      type: str
image:
  description: The image as it is on the host now; empty if it is not there.
  returned: success
  type: dict
  sample:
    name: docker.io/shop/frontend:1.4
    digest: sha256:0d1f2b6e...
    size: 1245184
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_commit import run_image_commit


def main() -> None:
    run_image_commit()


if __name__ == "__main__":
    main()
