# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The /etc/hosts of containers: hosts(5)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LOCALHOST = (
    ("127.0.0.1", ("localhost",)),
    ("::1", ("localhost", "ip6-localhost", "ip6-loopback")),
)


def hosts_file(entries: Iterable[tuple[str, Sequence[str]]]) -> str:
    """The file's content out of (address, names): the loopback's first, then ``entries`` in their order.

    The first line with a name is the one that counts (gethostbyname(3)); a name's repetition at the same address is
    left out.
    """
    lines = []
    seen: set[tuple[str, str]] = set()
    for address, names in (*_LOCALHOST, *entries):
        fresh = [name for name in dict.fromkeys(names) if (address, name) not in seen]
        seen.update((address, name) for name in fresh)
        if fresh:
            lines.append(f"{address}\t{' '.join(fresh)}\n")
    return "".join(lines)


def write_in_place(path: str, content: str) -> bool:
    """Make the file hold ``content``, keeping its inode: it is bind-mounted into a container. True where it changed.

    Written first and cut to length after, so that a reader never finds it empty.
    """
    wanted = content.encode()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        if os.pread(fd, len(wanted) + 1, 0) == wanted:
            return False
        written = 0
        while written < len(wanted):
            written += os.pwrite(fd, wanted[written:], written)
        os.ftruncate(fd, len(wanted))
    finally:
        os.close(fd)
    return True
