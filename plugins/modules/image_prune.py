#!/usr/bin/python
# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module image_prune: docs, spec and main, nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_prune
short_description: Remove images that are no longer wanted
version_added: 0.1.0
author: Stowage contributors (@stowage)
description:
  - Removes images by age and number, and all content of the store that nothing uses. What a container is made of stays,
    and what a running pull needs.
  - Without O(keep_last) and O(older_than) no name goes, and only content that has none is removed.
  - An image's age is the time since it last came to the host, by a pull, a load or a build.
extends_documentation_fragment:
  - stowage.engine.attributes
  - stowage.engine.attributes.noun
  - stowage.engine.attributes.root
options:
  keep_last:
    description:
      - How many images of each repository stay, the latest ones.
    type: int
  older_than:
    description:
      - Only what is older goes, as V(30d), V(12h) or V(1d12h), of weeks, days, hours, minutes and seconds.
      - Where O(keep_last) is given too, what is older and not among the latest goes.
    type: str
  names:
    description:
      - Patterns of whole names, as V(registry.example.com/shop/*). Only what fits one of them goes.
    type: list
    elements: str
  build_cache:
    description:
      - Whether what builds have left for the next ones goes too, the layers of their steps, bases of other platforms,
        what cache mounts hold, and the downloads of C(ADD).
      - With O(older_than) only what was of no use to a build for so long goes, otherwise all of it.
      - A build that is running is waited for.
    type: bool
    default: false
    version_added: 0.2.0
seealso:
  - module: stowage.engine.image
"""

EXAMPLES = r"""
- name: Keep three images of each repository, and what is younger than a month
  stowage.engine.image_prune:
    keep_last: 3
    older_than: 30d

- name: Remove what builds have left and have not used for a week, too
  stowage.engine.image_prune:
    build_cache: true
    older_than: 7d
    names: [registry.example.com/ci/*]

- name: Remove what no name means any more
  stowage.engine.image_prune:
"""

RETURN = r"""
changes:
  description: What was changed, or in check mode would be, in order.
  returned: success
  type: list
  elements: dict
  contains:
    change:
      description:
        - The kind of change.
        - C(RemoveImage), C(PruneBuildCache) or C(SweepImages).
      type: str
      sample: SweepImages
    subject:
      description: What is changed.
      type: str
      sample: images without a name
    before:
      description:
        - What differs, as it was found.
        - Of an image what it was; of content without a name, how many blobs, bytes and unpacked layers; of the build
          cache, how many things of each kind, and their bytes beside layers and blobs.
      type: dict
    after:
      description:
        - What differs, as it is wanted.
        - Empty, since all of it goes.
      type: dict
    summary:
      description: The change in one line.
      type: str
"""

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_prune import run_image_prune


def main() -> None:
    run_image_prune()


if __name__ == "__main__":
    main()
