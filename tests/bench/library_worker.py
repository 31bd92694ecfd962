# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that uses the runtime as a library: `library_worker.py <engine's app> <state root> <instance> <bundle>`.

Each line on stdin is a name; it creates, starts, awaits and deletes a container of that name, and says how many
milliseconds that took. It is started as the engine's own processes are, with `python3 -I -S -E`.
"""

from __future__ import annotations

import os
import sys
import time

sys.path.insert(0, sys.argv[1])
from stowage_engine.runtime.oci import Runtime
from stowage_engine.runtime.oci_create import Creation, create


def main() -> None:
    runtime, bundle = Runtime(sys.argv[2], sys.argv[3]), sys.argv[4]
    for line in sys.stdin:
        start = time.perf_counter()
        code = cycle(runtime, line.strip(), bundle)
        took = (time.perf_counter() - start) * 1000
        sys.stdout.write(f"{took:.3f}\n" if code == 0 else f"exit code {code}\n")
        sys.stdout.flush()


def cycle(runtime: Runtime, name: str, bundle: str) -> int:
    """One container from nothing to nothing; the exit status of its program."""
    created = create(runtime, name, bundle, Creation())
    runtime.start(name)
    status = os.waitpid(created.pid, 0)[1]
    os.close(created.pidfd)
    created.channel.close()
    runtime.delete(name, force=False)
    return status


if __name__ == "__main__":
    main()
