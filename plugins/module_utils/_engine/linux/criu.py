# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""criu(8) as a service for one request: ``criu swrk``, a socket and messages in protobuf (criu's images/rpc.proto).

Numbers and texts are all that is needed of protobuf (its encoding guide): a field is a varint or a length and bytes.
"""

from __future__ import annotations

import os
import socket

from ..errors import ProgramFailed, Unsupported
from .process import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

# rpc.proto, criu_req_type.
DUMP, RESTORE, PRE_DUMP, NOTIFY = 1, 2, 4, 6
# rpc.proto, criu_cg_mode.
CGROUP_MODES = {"": 6, "ignore": 0, "soft": 3, "full": 4, "strict": 5}
# rpc.proto, criu_opts: the fields that are used here.
_OPTIONS = {
    "images_dir_fd": 1,
    "pid": 2,
    "leave_running": 3,
    "ext_unix_sk": 4,
    "tcp_established": 5,
    "evasive_devices": 6,
    "shell_job": 7,
    "file_locks": 8,
    "log_level": 9,
    "log_file": 10,
    "ps": 11,
    "notify_scripts": 12,
    "root": 13,
    "parent_img": 14,
    "track_mem": 15,
    "auto_dedup": 16,
    "work_dir_fd": 17,
    "link_remap": 18,
    "ext_mnt": 23,
    "manage_cgroups": 24,
    "cg_root": 25,
    "rst_sibling": 26,
    "inherit_fd": 27,
    "manage_cgroups_mode": 34,
    "external": 37,
    "empty_ns": 38,
    "freeze_cgroup": 44,
    "tcp_skip_in_flight": 46,
    "lazy_pages": 48,
    "orphan_pts_master": 50,
    "config_file": 51,
    "lsm_profile": 53,
    "lsm_mount_context": 63,
    "network_lock": 64,
}
_NOTIFY_SUCCESS = 3


def encode(value: Any) -> bytes:
    """A message: {field: value}, where a value is a number, a text, a message, or a list of such."""
    out = b""
    for field, held in value.items():
        for item in held if isinstance(held, list) else [held]:
            if isinstance(item, int):
                out += _varint(field << 3) + _varint(item & 0xFFFFFFFFFFFFFFFF)
            else:
                content = item.encode() if isinstance(item, str) else encode(item)
                out += _varint(field << 3 | 2) + _varint(len(content)) + content
    return out


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode(content: bytes) -> dict[int, int | bytes]:
    """The fields of a message, the last of each. Raises ValueError."""
    fields: dict[int, int | bytes] = {}
    place = 0
    while place < len(content):
        key, place = _read_varint(content, place)
        number, place = _read_varint(content, place)
        if key & 7 == 2:
            fields[key >> 3] = content[place : place + number]
            place += number
        elif key & 7 == 0:
            fields[key >> 3] = number
        else:
            raise ValueError(f"a field of kind {key & 7}")
    return fields


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if place >= len(content):
            raise ValueError("the message ends within a number")
        byte = content[place]
        number |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            return number, place


def request(
    program: str,
    kind: int,
    options: Callable[[int], Mapping[str, Any]],
    notified: Callable[[str, int, list[int]], None],
    *,
    inherited: Sequence[int] = (),
    log: str,
) -> None:
    """Have criu do one thing. ``options`` takes criu's pid and says what; ``notified`` hears of each stage: its name,
    the pid that it is about and descriptors that came with it. ``inherited`` are open in criu under their own numbers.

    Raises Unsupported where criu is not installed, ProgramFailed with the last error of its ``log``.
    """
    path = find_program(program)
    if path is None:
        raise Unsupported(
            f"the program {program!r} is not installed on this host; install criu to checkpoint and restore"
        )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in (theirs.fileno(), *inherited)]
            argv = [path, "swrk", str(theirs.fileno())]
            pid = os.posix_spawn(path, argv, dict(os.environ), file_actions=actions)
        try:
            values = {_OPTIONS[name]: value for name, value in options(pid).items()}
            ours.send(encode({1: kind, 2: values}))
            while True:
                content, fds, _flags, _address = socket.recv_fds(ours, 1 << 16, 8)
                answer = decode(content)
                if not content or not answer.get(2):
                    raise ProgramFailed([path], 1, _last_error(log))
                if answer.get(1) != NOTIFY:
                    return
                about = decode(bytes(answer.get(5, b"")))
                notified(bytes(about.get(1, b"")).decode(), int(about.get(2, 0)), fds)
                ours.send(encode({1: NOTIFY, _NOTIFY_SUCCESS: 1}))
        finally:
            ours.close()
            os.waitpid(pid, 0)


def _last_error(log: str) -> str:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if "Error" in line]
        return f"{lines[0]} ({log})"  # those after it come of it
    except (OSError, IndexError):
        return f"it told no reason (no error in {log})"
