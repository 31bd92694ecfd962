# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand the listener of a seccomp filter to the agent that ``linux.seccomp.listenerPath`` names, with the container
process state (runtime-spec, config-linux.md, Seccomp; seccomp_unotify(2)).

The process that has installed the filter can do little by itself any more, as each of its system calls may wait for
that agent. So it tells the descriptor's number with one write(2), and its creator takes a copy of the descriptor.
"""

from __future__ import annotations

import json
import os
import socket

from ..errors import RuntimeFailed
from ..linux.lean import Descriptor
from ..linux.pidfd import pidfd_getfd
from .state import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def hand_over(
    seccomp: Mapping[str, Any], state: Mapping[str, Any], *, pid: int, number: int, release: Callable[[], None]
) -> None:
    """Send descriptor ``number`` of process ``pid``, which is let go on by ``release`` once we have a copy: what it
    does then waits in the kernel for the agent. Raises RuntimeFailed where nobody listens."""
    path = seccomp["listenerPath"]
    message = {
        "ociVersion": OCI_VERSION,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": seccomp.get("listenerMetadata") or "",
        "state": state,
    }
    content = json.dumps(message).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.connect(path)
            with Descriptor(os.pidfd_open(pid)) as pidfd:
                listener = Descriptor(pidfd_getfd(pidfd, number))
            with listener as fd:
                release()
                # The descriptor with the first part alone, should it be sent in several.
                sent = socket.send_fds(connection, [content], [fd])
                if sent < len(content):  # an agent that has all may be gone
                    connection.sendall(content[sent:])
    except OSError as error:
        raise RuntimeFailed(
            f"linux.seccomp.listenerPath: failed to connect with seccomp agent at {path}: {error}"
        ) from error
