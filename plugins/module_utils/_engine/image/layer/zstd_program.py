# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zstd data through the program ``zstd``, for a Python that cannot read it: a process beside us, fed by a thread."""

from __future__ import annotations

import os
import threading

from ...errors import InvalidImage
from .windows import MAX_WINDOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_CHUNK = 1 << 18


def inflate_by_program(program: str, source: Any) -> Iterator[bytes]:
    """The uncompressed content of what ``source.read(size)`` gives. The program runs when this returns.

    Raises InvalidImage where it does not like the data.
    """
    (data, feed), (output, write) = os.pipe(), os.pipe()
    said = os.memfd_create("zstd")
    actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate((data, write, said))]
    pid = os.posix_spawn(
        program, [program, "-dcq", f"--memory={MAX_WINDOW >> 20}MB"], {"PATH": os.defpath}, file_actions=actions
    )
    os.close(data)
    os.close(write)
    failures: list[BaseException] = []
    feeder = threading.Thread(target=_feed, args=(source, feed, failures), daemon=True)
    feeder.start()
    return _take(pid, output, said, feeder, failures)


def _take(pid: int, output: int, said: int, feeder: threading.Thread, failures: list[BaseException]) -> Iterator[bytes]:
    while True:
        chunk = os.read(output, _CHUNK)
        if not chunk:
            break
        yield chunk
    status = os.waitpid(pid, 0)[1]
    feeder.join()
    if failures:
        raise failures[0]
    if status:
        why = os.pread(said, 1000, 0).decode(errors="replace").strip() or f"zstd ended with status {status}"
        raise InvalidImage(f"the layer is not valid zstd data ({why})")


def _feed(source: Any, feed: int, failures: list[BaseException]) -> None:
    try:
        while True:
            chunk = source.read(_CHUNK)
            if not chunk:
                break
            while chunk:
                chunk = chunk[os.write(feed, chunk) :]
    except BrokenPipeError:
        pass  # it has ended, and its status says why
    except BaseException as error:
        failures.append(error)
    finally:
        os.close(feed)
