#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_verify: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_verify
short_description: Verify the signatures of an image in its registry
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Fails unless an image is signed by one of the keys, and tells its digest. Nothing is pulled but the signatures.
  - Verify once on the controller, and let all hosts pull RV(reference); where a host's policy asks for signatures,
    O(stowage.engine.image#module:verified_digest) says that they were seen to, so that hosts need neither C(openssl)
    nor C(cryptography).
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.info
  - stowage.engine.registry_options
options:
  name:
    description:
      - The image, with tag or digest. Short names mean what they mean to Docker.
    type: str
    required: true
  keys:
    description:
      - Public keys in PEM, as P(ansible.builtin.file#lookup) reads them, by one of which the image must be signed.
        ECDSA, RSA and Ed25519 are known.
    type: list
    elements: str
  identity:
    description:
      - Which name the image must have been signed under. That of its repository, with or without a tag, if this is not
        given.
    type: dict
    suboptions:
      match:
        description:
          - V(exact) wants the very name and tag, V(digest-or-exact) is content with the repository where the image is
            asked for by digest, V(repository) always is. V(reference) and V(remote-repository) name what the signature
            must speak of. V(remap) is for a mirror, whose images were signed under another name.
        type: str
        choices: [exact, digest-or-exact, repository, reference, remote-repository, remap]
        default: repository
      name:
        description: The name, repository or prefix that signatures speak of.
        type: str
      prefix:
        description: For V(remap), what the image's name begins with.
        type: str
requirements:
  - The program C(openssl) or Python's library C(cryptography)
seealso:
  - module: stowage.engine.image_sign
  - module: stowage.engine.image_policy
"""

EXAMPLES = r"""
- name: Verify once for all
  stowage.engine.image_verify:
    name: registry.example.com/shop/web:1.4
    keys: ["{{ lookup('ansible.builtin.file', 'shop.pub') }}"]
  delegate_to: localhost
  run_once: true
  register: verified

- name: Have those very bytes on every host
  stowage.engine.image:
    name: "{{ verified.reference }}"
    verified_digest: "{{ verified.digest }}"
"""

RETURN = r"""
name:
  description: The image's name, normalised.
  returned: success
  type: str
digest:
  description: The digest of the manifest or index that is signed.
  returned: success
  type: str
reference:
  description: The image by that digest.
  returned: success
  type: str
  sample: registry.example.com/shop/web@sha256:0d1f2b6e...
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_sign import run_image_verify


def main() -> None:
    run_image_verify()


if __name__ == "__main__":
    main()
