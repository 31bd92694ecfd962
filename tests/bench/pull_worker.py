# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull an image as a module does: `pull_worker.py <module_utils> <root> <run root> <image> pull|look`.

Says how many milliseconds that took, from where a module has imported what each of them imports. `look` is what
`state: present` does where the image is there.
"""

from __future__ import annotations

import importlib
import sys
import time

sys.path.insert(0, sys.argv[1])
from _engine.host import Host
from _engine.model.image import Image
from _engine.model.registry import Access
from _engine.paths import Paths
from _engine.plan.image import plan_image

# What ansible.module_utils.basic imports, which every module has by then.
for _name in ["datetime", "hashlib", "locale", "random", "socket", "tempfile", "threading", "urllib.parse"]:
    importlib.import_module(_name)


def main() -> None:
    paths, image = Paths(sys.argv[2], sys.argv[3]), Image(sys.argv[4], access=Access(insecure=True))
    start = time.perf_counter()
    if sys.argv[5] == "pull":
        importlib.import_module("_engine.image.pull").pull_image(paths, image)
    else:
        host = Host(paths)
        changes = list(plan_image(host.resolve_image(image), host.observe_images().get(image.name)))
        if changes:
            raise RuntimeError(f"there was to be nothing to do, but: {changes}")
    sys.stdout.write(f"{(time.perf_counter() - start) * 1000:.3f}\n")


if __name__ == "__main__":
    main()
