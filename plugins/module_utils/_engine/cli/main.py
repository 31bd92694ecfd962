# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where every start of the engine begins: which command is meant, and no import that it does not need.

The command is the name by which the file was called (``stowage``, ``stowage-runtime``) or the first word after it.
"""

from __future__ import annotations

import os
import sys

from ..errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    name, words = os.path.basename(argv[0]), list(argv[1:])
    if name not in ("stowage", "stowage-runtime"):
        name = words.pop(0) if words else ""
    try:
        return _run(name, words)
    except EngineError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    except BrokenPipeError:
        # The reader had enough; point stdout elsewhere so that Python's own flush at exit is silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130


def _run(name: str, words: list[str]) -> int:
    if name == "launch":
        from ..shim.launcher import main as launch  # it starts in milliseconds

        os._exit(launch(words))  # its caller waits for its end, and Python takes 4 ms to take itself apart
    if name == "monitor":
        from ..shim.monitor import main as monitor  # it stays for as long as its container

        os._exit(monitor(words))
    if name == "stowage-runtime":
        from .runtime import main as runtime  # argparse alone costs 10 ms

        status = runtime(words)
        sys.stdout.flush()
        os._exit(status)
    if name == "stowage":
        from .stowage import main as stowage  # the whole engine

        return stowage(words)
    sys.stderr.write(f"usage: {os.path.basename(sys.argv[0])} stowage|stowage-runtime ...\n")
    return 2
