#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_push: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_push
short_description: Push OCI images to a registry
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Lets a name of a registry mean an image of the host, or an index of images for several platforms.
  - Only content that the registry lacks is sent. What is known to be in another of its repositories is mounted from
    there.
  - Check mode asks the registry, by a request without a body, and tells truly whether a push would change anything.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.registry_options
options:
  name:
    description:
      - The image's name at the registry, with a tag, such as V(registry.example.com/shop/web:1).
    type: str
    required: true
  state:
    description:
      - Whether the registry is to have the image under O(name). For V(absent), O(name) may have a digest instead of a
        tag.
      - Registries that delete by digest alone take all tags along that mean the same image. Where there are others,
        that is refused unless O(name) is that digest.
    type: str
    choices: [present, absent]
    default: present
  images:
    description:
      - The names of the images of this host that are pushed. Without it, it is the one that is called O(name) here too.
      - Several of them become an OCI index, each for the platform that its configuration names.
    type: list
    elements: str
  chunk_size:
    description:
      - Content is sent in pieces of this size, such as V(8M), for registries and proxies that take no large requests.
        A piece that fails is sent again from where the registry has got to.
      - Without it, each layer is sent in one piece.
    type: str
seealso:
  - module: stowage.engine.image
  - module: stowage.engine.image_tag
"""

EXAMPLES = r"""
- name: Push an image to where its name leads
  stowage.engine.image_push:
    name: registry.example.com/shop/web:1
    username: ci
    password: "{{ registry_password }}"

- name: Push one index for two platforms
  stowage.engine.image_push:
    name: registry.example.com/shop/web:2
    images:
      - web:2-amd64
      - web:2-arm64

- name: Take a name away from the registry
  stowage.engine.image_push:
    name: registry.example.com/shop/web:1
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
      sample: PushImage
    subject:
      description: What is changed.
      type: str
      sample: image registry.example.com/shop/web:1
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description: What differs, as it is wanted.
      type: dict
    summary:
      description: The change in one line.
      type: str
image:
  description: The image as the registry has it now.
  returned: success
  type: dict
  sample:
    name: registry.example.com/shop/web:1
    digest: sha256:0d1f2b6e...
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_push import run_image_push


def main() -> None:
    run_image_push()


if __name__ == "__main__":
    main()
