# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sd_notify(3) from inside a container to a unit of Type=notify outside, as runc passes it on.

The container gets a directory of its own with a socket in it; what its program says there about being ready is told to
the host's $NOTIFY_SOCKET, with the main pid that the host knows. Created with the container, bound when it starts.
"""

from __future__ import annotations

import os
import select
import socket

from ..errors import RuntimeFailed
from ..linux.files import remove_if_exists
from ..linux.inherited import set_parent_death_signal
from ..linux.lean import Descriptor, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INSIDE = "/run/notify"
_NAME = "notify.sock"


class NotifySocket:
    """The socket of container ``identity``, which leads to the address ``host``."""

    def __init__(self, host: str, root: str, identity: str) -> None:
        # An address that begins with @ is an abstract one (sd_notify(3)).
        self.host = "\0" + host[1:] if host.startswith("@") else host
        self.directory = os.path.join(root, f".notify-{identity}")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def plan(self, spec: dict[str, Any]) -> None:
        """Make the directory, and have the container see it."""
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        options = ["bind", "nosuid", "noexec", "nodev", "ro"]
        mount = {"destination": _INSIDE, "type": "bind", "source": self.directory, "options": options}
        spec["mounts"] = [*(spec.get("mounts") or ()), mount]
        process = spec["process"]
        process["env"] = [*(process.get("env") or ()), f"NOTIFY_SOCKET={_INSIDE}/{_NAME}"]

    def bind(self) -> None:
        """Before the program starts; whoever it runs as may write there."""
        path = os.path.join(self.directory, _NAME)
        try:
            remove_if_exists(path)
            # By a descriptor: the address of a Unix socket has 107 bytes at most (unix(7)).
            with Descriptor(os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
                self.socket.bind(f"/proc/self/fd/{fd}/{_NAME}")
            os.chmod(path, 0o666)
        except OSError as error:
            raise RuntimeFailed(f"NOTIFY_SOCKET: {path}: {error.strerror}") from error

    def wait_ready(self, pidfd: int, main_pid: int) -> None:
        """Until the program says that it is ready, or has ended."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        while True:
            ready = [fd for fd, _event in poll.poll()]
            if self.socket.fileno() not in ready:
                return
            lines = self.socket.recv(4096).split(b"\n")
            told = [line for line in lines if line.startswith(b"READY=")]
            if told:
                self._tell(b"MAINPID=%d\n%s\n" % (main_pid, told[0]))
                return

    def serve(self, pidfd: int) -> None:
        """The same from a process of its own, for a caller that stays with the container and is its main pid."""
        parent = os.getpid()
        if os.fork() == 0:
            try:
                set_parent_death_signal(9)
                self.wait_ready(pidfd, parent)
            finally:
                os._exit(0)

    def _tell(self, message: bytes) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
            host.sendto(message, self.host)


def remove_notify(root: str, identity: str) -> None:
    """Forget the directory, if there is one."""
    directory = os.path.join(root, f".notify-{identity}")
    if os.path.isdir(directory):
        remove_if_exists(os.path.join(directory, _NAME))
        os.rmdir(directory)
