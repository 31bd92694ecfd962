# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look whether an image is to be built, as a module does: `build_worker.py <module_utils> <root> <run root> <context>`.

Says how many milliseconds that took: the imports that other modules do without, the Containerfile, the files that are
copied, the records of the steps, and the image.
"""

from __future__ import annotations

import importlib
import sys
import time

sys.path.insert(0, sys.argv[1])
from _engine.host import Host
from _engine.model.build import Build
from _engine.paths import Paths
from _engine.plan.build import plan_build

# What ansible.module_utils.basic imports, which every module has by then.
for _name in ["datetime", "hashlib", "locale", "random", "socket", "tempfile", "threading", "urllib.parse"]:
    importlib.import_module(_name)


def main() -> None:
    build = Build("docker.io/library/bench-build:1", context=sys.argv[4])
    start = time.perf_counter()
    host = Host(Paths(sys.argv[2], sys.argv[3]))
    changes = list(plan_build(build, host.forecast_build(build), host.observe_images().get(build.name)))
    took = (time.perf_counter() - start) * 1000
    if changes:
        raise RuntimeError(f"there was to be nothing to do, but: {changes}")
    sys.stdout.write(f"{took:.3f}\n")


if __name__ == "__main__":
    main()
