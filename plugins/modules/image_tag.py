#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_tag: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_tag
short_description: Give OCI images of a host further names
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Lets further names mean an image that is on the host. Nothing is copied.
  - A name is removed by M(stowage.engine.image) with O(stowage.engine.image#module:state=absent).
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
options:
  name:
    description:
      - The image, by a name that it has.
    type: str
    required: true
  repository:
    description:
      - The names that are to mean it too, each with its tag.
    type: list
    elements: str
    required: true
  existing_images:
    description:
      - Whether a name that means another image is left alone (V(keep)), or means this one from then on (V(overwrite)).
    type: str
    choices: [keep, overwrite]
    default: overwrite
seealso:
  - module: stowage.engine.image
  - module: stowage.engine.image_push
"""

EXAMPLES = r"""
- name: Call an image what its registry calls it
  stowage.engine.image_tag:
    name: web:1
    repository:
      - registry.example.com/shop/web:1
      - registry.example.com/shop/web:stable
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
      sample: TagImage
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
images:
  description:
    - The images as they are on the host now.
    - Those of the names asked for.
  returned: success
  type: list
  elements: dict
  sample:
    - name: registry.example.com/shop/web:1
      digest: sha256:0d1f2b6e...
      changed: true
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_tag import run_image_tag


def main() -> None:
    run_image_tag()


if __name__ == "__main__":
    main()
