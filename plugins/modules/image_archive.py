#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_archive: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_archive
short_description: Export images to an archive, and load them from one
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has images of the host in one file or directory on the host, which Docker, Podman, Skopeo and umoci read too; or has
    the images of such an archive on the host, whoever wrote it.
  - The same images give the same bytes. An archive that holds just these images already, all of their content intact,
    is left alone, whoever wrote it; images that are on the host already are not loaded again.
  - An archive is replaced as a whole, or not at all. One that is loaded is believed nothing. What it holds is held
    against its digests before the first byte is stored, and its names are no paths of the host.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
  - stowage.engine.image_limits
options:
  path:
    description:
      - The archive on the host, a file, or a directory with O(format=oci-dir).
    type: path
    required: true
  names:
    description:
      - With O(state=exported), the images that are to be in the archive, and no others.
      - With O(state=loaded), the images to load; all if it is not given. An image to which the archive gives no name,
        or only a tag, gets the one name that is given.
    type: list
    elements: str
    aliases: [name]
  state:
    description:
      - V(exported) writes the archive, V(loaded) reads it.
    type: str
    choices: [exported, loaded]
    required: true
  format:
    description:
      - What to write. V(oci-archive) is a tar archive of an OCI image layout, V(oci-dir) such a layout in a directory,
        V(docker-archive) what C(docker save) writes. V(oci-archive) if it is not given.
      - What is loaded tells its format by itself.
      - In V(oci-archive) and V(oci-dir) a manifest that a registry gave in Docker's spelling is written in OCI's, since
        others do not find it otherwise; its digest is another then. A V(docker-archive) has no manifests and holds
        layers uncompressed, so that an image loaded from it has another digest than it had, and the same configuration
        and layers.
    type: str
    choices: [oci-archive, oci-dir, docker-archive]
  compression:
    description:
      - How the archive as a whole is compressed. V(none) if it is not given; layers are compressed already, but in a
        V(docker-archive).
      - What is loaded may be compressed with gzip, bzip2, xz or zstd, and each layer in it with gzip or zstd, whatever
        the format. For zstd the host needs Python 3.14, the Python package C(zstandard), or the program C(zstd).
    type: str
    choices: [none, gzip]
notes:
  - O(max_size), O(max_entries), O(allow_devices) and O(allow_setuid) are about images that are loaded.
  - A new archive is readable by its owner alone, since images may hold secrets; one that is replaced keeps its mode.
seealso:
  - module: stowage.engine.image
  - module: stowage.engine.image_transfer
"""

EXAMPLES = r"""
- name: Have two images in one archive
  stowage.engine.image_archive:
    state: exported
    path: /srv/backup/shop.tar
    names:
      - registry.example.com/shop/frontend:1.4
      - registry.example.com/shop/api:1.4

- name: Write one for docker load
  stowage.engine.image_archive:
    state: exported
    path: /srv/backup/frontend.tar.gz
    name: registry.example.com/shop/frontend:1.4
    format: docker-archive
    compression: gzip

- name: Load all that an archive has
  stowage.engine.image_archive:
    state: loaded
    path: /srv/backup/shop.tar
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
      sample: ExportImages
    subject:
      description: What is changed.
      type: str
      sample: archive /srv/backup/shop.tar
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description: What differs, as it is wanted.
      type: dict
    summary:
      description: The change in one line.
      type: str
archive:
  description: The archive as it is now; empty if there is none.
  returned: with O(state=exported)
  type: dict
  sample:
    path: /srv/backup/shop.tar
    format: oci-archive
    compression: none
    whole: true
    images:
      - name: registry.example.com/shop/api:1.4
        digest: sha256:0d1f2b6e...
images:
  description:
    - The images as they are on the host now.
    - Those that were loaded, or were there.
  returned: with O(state=loaded)
  type: list
  elements: dict
  sample:
    - name: registry.example.com/shop/api:1.4
      digest: sha256:0d1f2b6e...
      changed: true
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_archive import run_image_archive


def main() -> None:
    run_image_archive()


if __name__ == "__main__":
    main()
