# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse a program that the kernel would find through a link of procfs, as /proc/self/exe is: it leads out of the
container (CVE-2019-5736). For where there is no trampoline: execve(2) from this process itself.

Looked at are the program, what ``#!`` lines name, and an ELF file's interpreter (elf(5), PT_INTERP). Linux 5.6.
"""

from __future__ import annotations

import errno
import os
import struct

from .openat2 import RESOLVE_NO_MAGICLINKS, openat2

_AT_FDCWD = -100
_MAX_SCRIPTS = 5  # execve(2), Interpreter scripts
_PT_INTERP = 3


def refuse_magic_links(path: str, depth: int = _MAX_SCRIPTS) -> None:
    """Raises OSError with the path in question, or where a program cannot be read to be looked at."""
    try:
        fd = openat2(_AT_FDCWD, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, resolve=RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(
                errno.ELOOP, "leads through a link of procfs, so perhaps out of the container", path
            ) from error
        raise
    try:
        head = os.pread(fd, 4096, 0)
        interpreter = _script_interpreter(head) if head[:2] == b"#!" else _elf_interpreter(fd, head)
    finally:
        os.close(fd)
    if interpreter and depth > 0:
        refuse_magic_links(interpreter, depth - 1)


def _script_interpreter(head: bytes) -> str:
    words = head[2:].partition(b"\n")[0].split()
    return os.fsdecode(words[0]) if words else ""


def _elf_interpreter(fd: int, head: bytes) -> str:
    if head[:4] != b"\x7fELF" or len(head) < 64:
        return ""
    order, wide = "<" if head[5] == 1 else ">", head[4] == 2
    offset = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    for index in range(count):
        entry = os.pread(fd, size, offset + index * size)
        if len(entry) < (56 if wide else 32) or struct.unpack_from(order + "I", entry)[0] != _PT_INTERP:
            continue
        place, length = struct.unpack_from(order + ("Q" if wide else "I"), entry, 8 if wide else 4)[0], 4096
        return os.fsdecode(os.pread(fd, length, place).partition(b"\0")[0])
    return ""
