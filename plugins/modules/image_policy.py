#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_policy: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_policy
short_description: Say which images a host may have
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has a policy on the host that says, by registry and repository, which images may come to it. Signatures are checked
    before anything of an image is stored.
  - Signatures are those of cosign (C(cosign sign --key)), of M(stowage.engine.image_sign), podman and skopeo
    (C(--sign-by-sigstore-private-key)), found under the tag that cosign gives them or among the referrers of the image.
  - The policy is a file in the format of C(containers-policy.json(5)). Where the host has none of ours, that of podman
    and skopeo (C(/etc/containers/policy.json)) holds, if there is one.
  - What is on the host already stays.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
options:
  state:
    description:
      - Whether the host is to have a policy of ours.
    type: str
    choices: [present, absent]
    default: present
  default:
    description:
      - What holds for images that no rule fits.
    type: str
    choices: [accept, reject]
    default: accept
  rules:
    description:
      - What holds for which images. The rule of the longest scope that fits an image counts, and no other. Two rules of
        the same scope must both be met.
    type: list
    elements: dict
    default: []
    suboptions:
      scope:
        description:
          - A registry (V(registry.example.com)), a repository or a path above it (V(registry.example.com/shop)), one
            name with its tag or digest, or all subdomains (V(*.example.com)),
            at whatever port.
        type: str
        required: true
      require:
        description:
          - V(accept) takes any image, V(reject) none, V(signed) those signed by one of O(rules[].keys).
        type: str
        choices: [accept, reject, signed]
        required: true
      keys:
        description:
          - Public keys in PEM, as P(ansible.builtin.file#lookup) reads them. ECDSA, RSA and Ed25519 are known.
        type: list
        elements: str
      identity:
        description:
          - Which name an image must have been signed under. That of its repository, with or without a tag, if this is
            not given.
        type: dict
        suboptions:
          match:
            description:
              - V(exact) wants the very name and tag, V(digest-or-exact) is content with the repository where an image
                is asked for by digest, V(repository) always is. V(reference) and V(remote-repository) name what the
                signature must speak of. V(remap) is for a mirror, whose images were signed under another name.
            type: str
            choices: [exact, digest-or-exact, repository, reference, remote-repository, remap]
            default: repository
          name:
            description: The name, repository or prefix that signatures speak of.
            type: str
          prefix:
            description: For V(remap), what the names of this host's images begin with.
            type: str
requirements:
  - The program C(openssl) or Python's library C(cryptography), where signatures are asked for
seealso:
  - module: stowage.engine.image
"""

EXAMPLES = r"""
- name: Take nothing but what the shop has signed, and what the mirror has
  stowage.engine.image_policy:
    default: reject
    rules:
      - scope: registry.example.com/shop
        require: signed
        keys:
          - "{{ lookup('ansible.builtin.file', 'cosign.pub') }}"
      - scope: mirror.example.com
        require: accept
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
      sample: SetPolicy
    subject:
      description: What is changed.
      type: str
      sample: policy images
    before:
      description:
        - What differs, as it was found.
        - By scope.
      type: dict
    after:
      description:
        - What differs, as it is wanted.
        - By scope.
      type: dict
    summary:
      description: The change in one line.
      type: str
policy:
  description: The policy of the host; empty if it has none of ours.
  returned: success
  type: dict
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_policy import run_image_policy


def main() -> None:
    run_image_policy()


if __name__ == "__main__":
    main()
