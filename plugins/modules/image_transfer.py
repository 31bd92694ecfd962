#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_transfer: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_transfer
short_description: Send an image from the controller to hosts
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has an image on the host that the controller pulled once for all hosts, or holds as an archive. The host needs no
    registry. It is sent only the blobs that it lacks, over the connection that Ansible has already.
  - A transfer that breaks off goes on where it ended when it is run again, to the byte. What arrives is verified on the
    host before the image gets its name, and before anything of it is unpacked. A policy of the host
    (M(stowage.engine.image_policy)) holds here too; signatures travel along.
  - In one task all hosts get the same bytes, whatever the registry does meanwhile.
  - Check mode tells which blobs would be sent. It sends nothing, and keeps nothing on the controller. A name that its
    registry does not have, or an archive that is not there, is taken for an earlier task's work then, with a warning,
    and for a change.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.image_limits
  - stowage.engine.registry_options
options:
  name:
    description:
      - The image's name with tag or digest.
    type: str
    required: true
  src:
    description:
      - An archive or an OCI image layout on the controller, as M(stowage.engine.image_archive), Podman, Skopeo or
        C(docker save) write it, that holds the image. Looked for in C(files/) of the role or beside the playbook.
      - Without it, the controller pulls the image from its registry.
    type: path
  pull:
    description:
      - V(not_present) takes any image of the name that the controller holds already; V(always) asks the registry
        whether it has another, once for all hosts of the task.
    type: str
    choices: [not_present, always]
    default: not_present
  platform:
    description:
      - The platform to send, such as V(linux/arm64), where there are several. The host's own if this is not given.
    type: str
  verified_digest:
    description:
      - The digest that the controller has verified (M(stowage.engine.image_verify)). What a host's policy asks for in
        signatures is met by an image of that very digest, so that hosts need nothing to check them with.
    type: str
  cache:
    description:
      - Where the controller keeps what it pulls. C($XDG_CACHE_HOME/stowage) or C(~/.cache/stowage) if this is not
        given. May be removed whenever no play runs.
    type: path
  cache_days:
    description:
      - What no task has sent or offered for so many days is removed there when something else is pulled. V(0) keeps
        everything.
    type: int
    default: 90
  offer:
    description:
      - What the controller has. The action plugin tells the host so; playbooks do not give it.
    type: dict
  incoming:
    description:
      - Where on the host blobs have arrived. The action plugin tells the host so; playbooks do not give it.
    type: path
notes:
  - Options of the registry, with the files that they name, are the controller's here. None of them is sent to hosts.
  - Blobs arrive in C(stowage-incoming) under the login user's C(remote_tmp), which a transfer that succeeds removes.
  - Layers are sent as they are; those of an archive that C(docker save) wrote are not compressed.
seealso:
  - module: stowage.engine.image
  - module: stowage.engine.image_archive
"""

EXAMPLES = r"""
- name: Have an image on hosts that reach no registry
  stowage.engine.image_transfer:
    name: registry.example.com/shop/frontend:1.4
    username: deploy
    password: "{{ registry_password }}"

- name: Send what was carried to the controller
  stowage.engine.image_transfer:
    name: shop/api:1.4
    src: images/shop.tar
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
      sample: TransferImage
    subject:
      description: What is changed.
      type: str
      sample: image docker.io/shop/api:1.4
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description:
        - What differs, as it is wanted.
        - In C(sent) the blobs that the host lacked, with their sizes.
      type: dict
    summary:
      description: The change in one line.
      type: str
image:
  description: The image as it is on the host now; empty if it is not there.
  returned: success
  type: dict
  sample:
    name: docker.io/shop/api:1.4
    digest: sha256:0d1f2b6e...
sent:
  description: How much was sent, or in check mode would be. Less than the host lacked where a part had come before.
  returned: success
  type: dict
  sample:
    blobs: 1
    bytes: 1245184
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_transfer import run_image_transfer


def main() -> None:
    run_image_transfer()


if __name__ == "__main__":
    main()
