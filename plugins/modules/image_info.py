#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_info: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Tell of images on a host
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Reads the images of the host's store, by their whole names.
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
  - module: stowage.engine.image
"""

EXAMPLES = r"""
- name: See all images
  stowage.engine.image_info:
  register: found

- name: See one
  stowage.engine.image_info:
    name: docker.io/library/site:1
"""

RETURN = r"""
images:
  description: The images as they are on the host now.
  returned: success
  type: list
  elements: dict
  sample:
    - name: docker.io/library/site:1
      digest: sha256:0d1f2b6e...
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image import run_image_info


def main() -> None:
    run_image_info()


if __name__ == "__main__":
    main()
