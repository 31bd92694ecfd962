#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_sign: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_sign
short_description: Sign an image in its registry
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has a signature by a private key on an image in its registry, in the format of cosign, beside those that are there.
    cosign, podman, skopeo and M(stowage.engine.image_policy) verify it.
  - What is signed is the digest that the name has in the registry. Of an image for several platforms that is the index;
    hosts of this collection take it for all of its images, podman and skopeo want each image signed by its digest.
  - Run it where the key is, usually on the controller (C(delegate_to=localhost), C(run_once=true)). It needs no root
    and changes nothing of the host.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.registry_options
options:
  name:
    description:
      - The image, with tag or digest. Short names mean what they mean to Docker.
    type: str
    required: true
  private_key:
    description:
      - The private key itself, in PEM, ECDSA, RSA or Ed25519, as PKCS 8 (C(openssl genpkey)), or as
        C(cosign generate-key-pair) writes it, which takes the Python library C(PyNaCl).
    type: str
    required: true
  passphrase:
    description:
      - Opens O(private_key).
    type: str
  identity:
    description:
      - The name to sign. That of the repository if this is not given, as cosign does.
    type: str
  annotations:
    description:
      - Words to sign along.
    type: dict
  store:
    description:
      - Where the signature is kept, under the V(tag) of cosign or as V(referrer) of the image (OCI 1.1).
    type: str
    choices: [tag, referrer]
    default: tag
requirements:
  - Python's library C(cryptography)
seealso:
  - module: stowage.engine.image_verify
  - module: stowage.engine.image_policy
"""

EXAMPLES = r"""
- name: Sign what was pushed
  stowage.engine.image_sign:
    name: registry.example.com/shop/web:1.4
    private_key: "{{ lookup('ansible.builtin.file', 'shop.key') }}"
    passphrase: "{{ vault_shop_key_passphrase }}"
  delegate_to: localhost
  run_once: true
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
      sample: SignImage
    subject:
      description: What is changed.
      type: str
      sample: signature registry.example.com/shop/web:1.4
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description: What differs, as it is wanted.
      type: dict
    summary:
      description: The change in one line.
      type: str
signature:
  description: The signature as it is in the registry now; empty in check mode where it is not there.
  returned: success
  type: dict
  sample:
    name: registry.example.com/shop/web:1.4
    digest: sha256:0d1f2b6e...
    identity: registry.example.com/shop/web
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_sign import run_image_sign


def main() -> None:
    run_image_sign()


if __name__ == "__main__":
    main()
