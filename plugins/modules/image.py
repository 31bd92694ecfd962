#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Manage OCI images
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has an image on the host, pulled from its registry or assembled out of layers, or removes it.
  - An assembled image has the same digest wherever it is made out of the same content. Check mode reads what the layers
    are made
    of and tells truly whether the image would be another.
  - Images are stored as OCI content; layers are unpacked once and shared, read-only, by all containers of the host.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.image_config
  - stowage.engine.image_limits
  - stowage.engine.registry_options
options:
  name:
    description:
      - The image's name with tag or digest. Short names mean what they mean to Docker, so that V(nginx) is
        V(docker.io/library/nginx:latest).
    type: str
    required: true
  state:
    description:
      - Whether the image is to be there. Content that another image or a container uses is kept.
    type: str
    choices: [present, absent]
    default: present
  pull:
    description:
      - V(not_present) takes any image of the name that is on the host; V(always) asks the registry whether it has
        another.
      - Where the registry is asked, check mode asks it too, and tells the digest. A name that it does not have is taken
        for an earlier task's work then, with a warning.
    type: str
    choices: [not_present, always]
    default: not_present
  platform:
    description:
      - The platform of the image, as V(linux/arm64) or V(linux/arm/v7). An image of another platform that the host has
        under this name is pulled anew.
      - What is pulled is this host's own platform unless this says otherwise.
    type: str
  verify:
    description:
      - Whether to read all that the host has of the image, and to hold it against its digests, layers file by file.
        What is damaged is unpacked anew out of what the host has, or else fetched from the registry that the image came
        from, or assembled anew. Check mode reads it too, and tells what is damaged.
    type: bool
    default: false
  verified_digest:
    description:
      - The digest that the controller has verified (M(stowage.engine.image_verify)). What the host's policy asks for in
        signatures is met by an image of that very digest.
    type: str
  base:
    description:
      - An image of this host on which O(layers) go. Makes this an assembled image.
    type: str
  layers:
    description:
      - The layers of an assembled image, from the lowest to the topmost, each out of O(layers[].src) or
        O(layers[].files).
    type: list
    elements: dict
    suboptions:
      src:
        description: A directory, a file or a tar archive (plain, gzip or zstd) on the host.
        type: path
      dest:
        description: Where a directory's content, or a file, goes in the image.
        type: str
        default: /
      files:
        description: Files, links and directories that are given here in full.
        type: list
        elements: dict
        suboptions:
          path:
            description: The absolute path in the image. Neither O(layers[].files[].content) nor
              O(layers[].files[].target) makes a directory.
            type: str
            required: true
          content:
            description: A file's text.
            type: str
          target:
            description: What a symbolic link leads to.
            type: str
          mode:
            description: Permission bits such as V("0644"), which is a file's default; a directory's is V("0755").
            type: str
          uid:
            description: The owner's number.
            type: int
            default: 0
          gid:
            description: The group's number.
            type: int
            default: 0
seealso:
  - module: stowage.engine.image_info
  - module: stowage.engine.image_policy
  - module: stowage.engine.container
"""

EXAMPLES = r"""
- name: Pull an image
  stowage.engine.image:
    name: registry.example.com/shop/frontend:1.4

- name: Assemble an image out of a base and two files
  stowage.engine.image:
    name: site:1
    base: busybox:1
    layers:
      - files:
          - path: /www/index.html
            content: "Hello\n"
      - src: /srv/site/static
        dest: /www/static
    config:
      command: [httpd, -f, -h, /www]
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
      sample: PullImage
    subject:
      description: What is changed.
      type: str
      sample: image docker.io/library/site:1
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
  description: The image as it is on the host now; empty if it is not there.
  returned: success
  type: dict
  sample:
    name: docker.io/library/site:1
    digest: sha256:0d1f2b6e...
    size: 1245184
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image import run_image


def main() -> None:
    run_image()


if __name__ == "__main__":
    main()
