#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_build: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
short_description: Build OCI images out of a Containerfile
version_added: 0.2.0
author: Stowage contributors (@stowage)
description:
  - Builds an image on the host out of a Containerfile (a Dockerfile), with nothing else installed. C(RUN) steps run in
    the engine's own runtime, isolated as containers are.
  - Steps are cached by content. A build of which nothing has changed builds nothing, and is told as such; check mode
    says which steps would run, and the digest of the image where no step has to run to know it.
  - Same inputs give the same digest, wherever and whenever they are built, as far as the programs that C(RUN) runs do
    their part. No file that a step makes has a time later than O(source_date_epoch).
  - C(ADD) of an address trusts the authorities of O(ca_cert), beside the host's, and heeds O(proxy) and O(timeout). All
    else that is said of registries, O(insecure) and logins, is for the registries of base images alone.
  - All that Dockerfile's reference lists for syntax 1 is understood, save C(RUN --mount=type=ssh), C(RUN --device) and
    C(ADD) of git repositories.
  - M(stowage.engine.image) makes images out of directories, files and tar archives without any Containerfile.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.registry_options
options:
  name:
    description:
      - The image's name, with a tag. Short names mean what they mean to Docker.
    type: str
    required: true
  path:
    description:
      - The directory on the host out of which C(COPY) and C(ADD) take files, the context. What its
        C(.containerignore) or C(.dockerignore) names is left out.
    type: path
    aliases: [context]
  containerfile:
    description:
      - The Containerfile on the host, absolute or relative to O(path). Without it, C(Containerfile) or else
        C(Dockerfile) in O(path) is taken.
    type: path
    aliases: [dockerfile]
  content:
    description:
      - The text of the Containerfile, instead of a file that has it.
    type: str
  target:
    description:
      - The stage to build, by name or number. The last one, unless this says another; stages that it does not need are
        not built.
    type: str
  args:
    description:
      - Values for the Containerfile's C(ARG) instructions. They are no secrets. The history of the image tells them,
        save those of proxies (C(http_proxy) and its like), which need no C(ARG). C(SOURCE_DATE_EPOCH) is what
        O(source_date_epoch) is, where that is not given.
      - One that no C(ARG) declares has no effect, and is warned of.
    type: dict
  labels:
    description: Labels of the image, beside those of its C(LABEL) instructions.
    type: dict
  secrets:
    description:
      - What C(RUN --mount=type=secret) shows to a step while it runs. It gets into no layer, cache, history, and
        is hidden in RV(log). Another value of a secret is no reason to do a step again.
      - A secret has at most 1 MiB.
    type: list
    elements: dict
    suboptions:
      id:
        description: The id by which the Containerfile asks for it.
        type: str
        required: true
      src:
        description: A file on the host that holds the secret.
        type: path
      value:
        description: The secret itself.
        type: str
  etc_hosts:
    description: Names and their addresses for C(/etc/hosts) while steps run.
    type: dict
  network:
    description:
      - The network of C(RUN) steps that do not name one themselves. V(host) is the host's own, with its name servers,
        so that packages can be installed; V(none) is no network but a loopback, for every step.
    type: str
    choices: [host, none]
    default: host
  shm_size:
    description: The size of C(/dev/shm) while steps run, such as V(128M). 64 MiB, unless this says another.
    type: str
  privileged:
    description: Whether steps may ask for C(RUN --security=insecure), all rights of root on the host.
    type: bool
    default: false
  platform:
    description:
      - The platform to build for, such as V(linux/amd64). It has to be one that this machine runs.
    type: str
  pull:
    description:
      - V(not_present) takes the base images that are on the host, and pulls those that are not; V(always) asks their
        registries whether they have others.
    type: str
    choices: [not_present, always]
    default: not_present
  cache:
    description:
      - Whether steps that were done before may be left out. With V(false) the image is built anew in every run.
    type: bool
    default: true
  source_date_epoch:
    description:
      - The image's date, in seconds since 1970, and the latest time that any file of a new layer has. Steps find it in
        E(SOURCE_DATE_EPOCH).
      - Without it, the environment's E(SOURCE_DATE_EPOCH) counts; without both, files get the epoch itself, and the
        image has no date.
    type: int
seealso:
  - module: stowage.engine.image
  - module: stowage.engine.image_info
"""

EXAMPLES = r"""
- name: Build an image out of a directory that is on the host
  stowage.engine.image_build:
    name: shop/frontend:1.4
    path: /srv/build/frontend
    args:
      VERSION: "1.4"

- name: Build one that needs no other files, with a secret
  stowage.engine.image_build:
    name: tools:1
    content: |
      FROM debian:12
      RUN --mount=type=cache,target=/var/cache/apt \
          --mount=type=secret,id=token,env=TOKEN \
          apt-get update && apt-get install -y curl && curl -H "Authorization: $TOKEN" -o /bin/x https://example.com/x
    secrets:
      - id: token
        value: "{{ vault_token }}"

- name: See what would be built
  stowage.engine.image_build:
    name: shop/frontend:1.4
    path: /srv/build/frontend
    target: runtime
  check_mode: true
  register: forecast
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
      sample: BuildImage
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
        - The digest, if it is known, C(steps) that had to be done, and images that are pulled.
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
steps:
  description: All instructions of the stages that are needed.
  returned: always
  type: list
  elements: dict
  contains:
    stage:
      description: The stage's name, or its number.
      type: str
      sample: runtime
    line:
      description: Where the instruction is in the Containerfile.
      type: int
      sample: 7
    text:
      description: The instruction.
      type: str
      sample: RUN make
    outcome:
      description:
        - V(cached) if its layer was there, V(built) if it had to be made, or in check mode would have to be,
          V(configured) if it makes no layer.
      type: str
      sample: cached
log:
  description:
    - What was said meanwhile, line by line. Of much, the last 9,000 lines or more.
    - The output of the steps is among it; secrets are hidden.
  returned: always
  type: list
  elements: str
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_build import run_image_build


def main() -> None:
    run_image_build()


if __name__ == "__main__":
    main()
