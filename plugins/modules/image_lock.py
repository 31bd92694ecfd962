#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action image_lock, which runs on the controller: no module of it runs on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_lock
short_description: Write down which digests image names mean
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Has a lock file on the controller that says which digest each image name means, so that every host gets the same
    bytes, today and in a year. P(stowage.engine.locked#lookup) reads it.
  - A name that is locked already stays as it is, and no registry is asked, unless O(update) says so. Digests are
    resolved by HEAD requests, once for all hosts of the task, in check mode too. A name that its registry does not have
    is taken for an earlier task's work then, with a warning, and for a change.
  - Of an image for several platforms the digest of the index is locked, so that each host gets its own.
  - Runs on the controller alone, for one host of a play or for all at once; no host is connected to.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.registry_options
options:
  path:
    description:
      - The lock file, beside the playbook if the path is not absolute. JSON, sorted, the same for the same content, to
        be kept with the playbook.
    type: path
    default: images.lock.json
  names:
    description:
      - Names of images, with tags. Other names of the file stay as they are.
    type: list
    elements: str
    required: true
    aliases: [name]
  state:
    description:
      - Whether the file is to have these names.
    type: str
    choices: [locked, absent]
    default: locked
  update:
    description:
      - Whether names that are locked already are resolved anew.
    type: bool
    default: false
  cache:
    description:
      - Where the controller keeps what it resolved for the other hosts of a task. C($XDG_CACHE_HOME/stowage) or
        C(~/.cache/stowage) if this is not given.
    type: path
notes:
  - Options of the registry, with the files that they name, are the controller's here.
seealso:
  - plugin: stowage.engine.locked
    plugin_type: lookup
  - module: stowage.engine.image_transfer
"""

EXAMPLES = r"""
- name: Lock what the play uses
  stowage.engine.image_lock:
    names:
      - registry.example.com/shop/web:1.4
      - registry.example.com/shop/api:1.4

- name: Have just that on all hosts
  stowage.engine.image:
    name: "{{ lookup('stowage.engine.locked', 'registry.example.com/shop/web:1.4') }}"

- name: Follow the tags to what they mean today
  stowage.engine.image_lock:
    name: registry.example.com/shop/web:1.4
    update: true
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
      sample: LockImage
    subject:
      description: What is changed.
      type: str
      sample: image registry.example.com/shop/web:1.4
    before:
      description: What differs, as it was found.
      type: dict
    after:
      description: What differs, as it is wanted.
      type: dict
    summary:
      description: The change in one line.
      type: str
images:
  description:
    - All names of the file, with their digests, and the names that mean just these.
    - In check mode a name that an earlier task is to push has an empty C(digest), and is its own C(pinned).
  returned: success
  type: dict
  sample:
    registry.example.com/shop/web:1.4:
      digest: sha256:0d1f2b6e...
      pinned: registry.example.com/shop/web@sha256:0d1f2b6e...
path:
  description: The lock file.
  returned: success
  type: str
  sample: /srv/plays/images.lock.json
"""
