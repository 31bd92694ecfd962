#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_bootstrap: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_bootstrap
short_description: Make an OCI image out of a distribution's packages
version_added: 0.2.0
author: Stowage contributors (@stowage)
description:
  - Installs a distribution's packages into an empty directory, by the distribution's own program on the host, and makes
    an image of one layer of it. It takes no registry and no other image.
  - The image has a label, C(io.stowage.bootstrap), that says what it was made of. It is made again when that differs
    from what the task says, when a layer of it is gone, or with O(force); not when the distribution has newer packages.
  - The program runs as root in a mount namespace and a pid namespace of its own. What it has mounted or started is
    gone when it ends, or when the module is killed.
  - The image has nothing in it of when and where it was made. Logs, package indexes, caches, host keys and the
    machine's id are removed.
requirements:
  - On the host one of C(mmdebstrap), C(debootstrap) and C(dnf). Debian and Ubuntu are made by one of the first two,
    Fedora and its like by C(dnf).
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.image_config
options:
  name:
    description:
      - The image's name, with a tag. Short names mean what they mean to Docker.
    type: str
    required: true
  suite:
    description:
      - The distribution's release, such as V(bookworm) or V(noble); with C(dnf) the release version, such as V(41).
    type: str
    required: true
    aliases: [releasever]
  program:
    description:
      - The program that installs.
      - With V(auto) it is the first of C(mmdebstrap), C(debootstrap) and C(dnf) that the host has.
    type: str
    choices: [auto, mmdebstrap, debootstrap, dnf]
    default: auto
  variant:
    description:
      - How much is installed besides O(packages), as C(mmdebstrap) names it; V(minbase) without it. C(debootstrap) has
        V(minbase), V(buildd) and V(important) alone, C(dnf) none.
      - With V(extract), packages are unpacked and not configured. That makes the smallest images.
    type: str
    choices: [extract, essential, apt, minbase, buildd, important, standard]
  packages:
    description:
      - Packages that are installed besides.
      - C(dnf) has nothing to install without.
    type: list
    elements: str
    default: []
  components:
    description:
      - Components of the archive, such as V(main) and V(contrib). Without it, what the program takes.
    type: list
    elements: str
    default: []
  mirrors:
    description:
      - URLs of the archives. Without it, what the program takes. C(debootstrap) takes one.
      - A URL of a snapshot, such as V(http://snapshot.debian.org/archive/debian/20260101T000000Z), always gives the
        same packages.
      - They stay in the image's C(sources.list), so they may have no user and password.
    type: list
    elements: str
    default: []
  keyring:
    description:
      - A file on the host with the keys that sign the archive. Without it, what the program takes.
      - With C(dnf), packages of O(mirrors) are checked only where this is given.
    type: path
  source_date_epoch:
    description:
      - The image's date, in seconds since 1970, and the latest time that any file of it has. C(mmdebstrap) gives the
        same digest each time then, as long as the archive has the same packages.
      - Without it, the environment's E(SOURCE_DATE_EPOCH) counts; without both it is the present.
    type: int
  timeout:
    description:
      - After how many seconds the program is stopped.
    type: int
    default: 1800
  force:
    description:
      - Make the image again whatever it was made of, which brings newer packages.
    type: bool
    default: false
seealso:
  - module: stowage.engine.image
  - module: stowage.engine.image_build
  - module: stowage.engine.image_commit
"""

EXAMPLES = r"""
- name: Make a small Debian
  stowage.engine.image_bootstrap:
    name: debian-base:bookworm
    suite: bookworm
    packages: [ca-certificates]
    config:
      command: [/bin/bash]

- name: Make one that has the same digest on every host
  stowage.engine.image_bootstrap:
    name: debian-base:2026-01
    suite: bookworm
    program: mmdebstrap
    variant: apt
    mirrors: ["http://snapshot.debian.org/archive/debian/20260101T000000Z"]
    source_date_epoch: 1767225600

- name: Make a small Fedora
  stowage.engine.image_bootstrap:
    name: fedora-base:41
    suite: "41"
    program: dnf
    packages: [bash, coreutils-single, fedora-release-container]
    config:
      command: [/bin/bash]
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
      sample: BootstrapImage
    subject:
      description: What is changed.
      type: str
      sample: image docker.io/library/debian-base:bookworm
    before:
      description:
        - What differs, as it was found.
        - The image, with what it was made of where that differs.
      type: dict
    after:
      description:
        - What differs, as it is wanted.
        - What the image is to be made of.
      type: dict
    summary:
      description: The change in one line.
      type: str
image:
  description: The image as it is on the host now; empty if it is not there.
  returned: success
  type: dict
  sample:
    name: docker.io/library/debian-base:bookworm
    digest: sha256:0d1f2b6e...
    size: 124518400
log:
  description:
    - What was said meanwhile, line by line. Of much, the last 9,000 lines or more.
  returned: always
  type: list
  elements: str
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_bootstrap import run_image_bootstrap


def main() -> None:
    run_image_bootstrap()


if __name__ == "__main__":
    main()
