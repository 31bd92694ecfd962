#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_sbom: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_sbom
short_description: Write the bill of materials of an image
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has a file on the host that lists the packages of an image, as SPDX or CycloneDX document, out of the package
    databases of its layers (dpkg, apk, rpm). Nothing of the image is run.
  - The same image gives the same document, byte for byte.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
options:
  name:
    description:
      - The image, which must be on the host. Required unless O(state=absent).
    type: str
  path:
    description:
      - The absolute path of the file on the host. Its directory must be there.
    type: path
    required: true
  format:
    description:
      - SPDX 2.3 or CycloneDX 1.6, both in JSON.
    type: str
    choices: [spdx-json, cyclonedx-json]
    default: spdx-json
  state:
    description:
      - Whether the file is to be there.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: stowage.engine.image
"""

EXAMPLES = r"""
- name: Write what is in an image
  stowage.engine.image_sbom:
    name: site:1
    path: /srv/sbom/site-1.spdx.json
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
      sample: WriteSbom
    subject:
      description: What is changed.
      type: str
      sample: sbom /srv/sbom/site-1.spdx.json
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description: What differs, as it is wanted.
      type: dict
    summary:
      description: The change in one line.
      type: str
sbom:
  description: The file as it is on the host now; empty if it is absent.
  returned: success
  type: dict
  sample:
    name: /srv/sbom/site-1.spdx.json
    path: /srv/sbom/site-1.spdx.json
    digest: sha256:0d1f2b6e...
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_sbom import run_image_sbom


def main() -> None:
    run_image_sbom()


if __name__ == "__main__":
    main()
