# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method calls over D-Bus on a private socket such as systemd's: no bus daemon, no library, no program needed.

Enough of the D-Bus specification for that: EXTERNAL authentication, little-endian messages, every type but file
descriptors. A call costs a fraction of a millisecond; busctl costs a process each. The C part of socket serves, because
socket itself loads enum and selectors (8 ms).
Errors: BusError where the other side refuses; OSError (with the path) where it is not there.
"""

from __future__ import annotations

import _socket as socket
import os
import struct

from ..errors import BusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NUMBERS = {"y": "<B", "b": "<I", "n": "<h", "q": "<H", "i": "<i", "u": "<I", "x": "<q", "t": "<Q", "d": "<d"}
_ALIGNMENT = {
    **{kind: struct.calcsize(form) for kind, form in _NUMBERS.items()},
    **dict(zip("sogva({", (4, 4, 1, 1, 4, 8, 8))),
}
_CALL, _RETURN, _ERROR = 1, 2, 3
_LINE = 512  # bytes at most of a line of the authentication
# Header fields: PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SIGNATURE.
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8


class Connection:
    """A connection to ``path``, a Unix socket. Close it, or use it in ``with``.

    ``user`` is who we are for the other side, where that is not our uid: in a user namespace.
    """

    def __init__(self, path: str, *, user: int | None = None, timeout: float = 25.0) -> None:
        self._serial = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
            # BEGIN must not arrive together with the first message: systemd 252 then waits for more before it looks.
            name = str(os.geteuid() if user is None else user)
            self._socket.sendall(b"\0AUTH EXTERNAL " + name.encode().hex().encode() + b"\r\nBEGIN\r\n")
            answer = self._read_line()
            if not answer.startswith(b"OK "):
                raise BusError(f"{path} does not let user {name} in", answer.decode(errors="replace").strip())
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, error.strerror or str(error), path) from error
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_rest: object) -> None:
        self._socket.close()

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str, values: tuple[Any, ...]
    ) -> list[Any]:
        """Call a method and wait for what it returns. Raises BusError with the error's name and message."""
        self._serial += 1
        body = marshal(signature, values)
        fields: list[tuple[int, tuple[str, Any]]] = [
            (_PATH, ("o", path)),
            (_INTERFACE, ("s", interface)),
            (_MEMBER, ("s", member)),
            (_DESTINATION, ("s", destination)),
        ]
        if signature:
            fields.append((_SIGNATURE, ("g", signature)))
        head = marshal("yyyyuua(yv)", (ord("l"), _CALL, 0, 1, len(body), self._serial, fields))
        self._socket.sendall(head + bytes(-len(head) % 8) + body)
        while True:
            kind, header, answer = self._receive()
            if header.get(_REPLY_SERIAL) != self._serial:
                continue  # a signal
            if kind == _RETURN:
                return answer
            if kind == _ERROR:
                raise BusError(f"{member} was refused", str(answer[0]) if answer else "", header.get(_ERROR_NAME, ""))

    def _receive(self) -> tuple[int, dict[int, Any], list[Any]]:
        start = self._read(16)
        order, kind, _rest, _rest, body_length, _rest, fields_length = struct.unpack("<BBBBIII", start)
        if order != ord("l"):
            raise BusError("a D-Bus message is not little-endian", "big-endian machines are not supported")
        head = start + self._read(fields_length + -fields_length % 8)
        body = self._read(body_length)
        header = dict(unmarshal("yyyyuua(yv)", head)[6])
        return kind, header, unmarshal(header.get(_SIGNATURE, ""), body)

    def _read_line(self) -> bytes:
        """What was answered, or as much as there is of it. Signals come from BEGIN on: not a byte beyond the line."""
        line = bytearray()
        while len(line) < _LINE and not line.endswith(b"\n"):
            more = self._socket.recv(1)
            if not more:
                break
            line += more
        return bytes(line)

    def _read(self, length: int) -> bytes:
        content = bytearray()
        while len(content) < length:
            try:
                more = self._socket.recv(length - len(content))
            except socket.timeout as error:  # another class than TimeoutError before Python 3.10
                raise BusError("no answer over D-Bus", f"waited {self._socket.gettimeout():g} s") from error
            if not more:
                raise BusError("the D-Bus connection was closed", "the other side is restarting or refuses the message")
            content += more
        return bytes(content)


def split_signature(signature: str) -> list[str]:
    """The complete types in a signature: ``sa(sv)u`` is ``s``, ``a(sv)``, ``u``."""
    types, depth, start = [], 0, 0
    for index, code in enumerate(signature):
        depth += (code in "({") - (code in ")}")
        if depth == 0 and code != "a":
            types.append(signature[start : index + 1])
            start = index + 1
    return types


def marshal(signature: str, values: tuple[Any, ...]) -> bytes:
    """Values as D-Bus has them on the wire. A variant is a pair of signature and value."""
    out = bytearray()
    for kind, value in zip(split_signature(signature), values):
        _put(out, kind, value)
    return bytes(out)


def _put(out: bytearray, kind: str, value: Any) -> None:
    out += bytes(-len(out) % _ALIGNMENT[kind[0]])
    if kind in _NUMBERS:
        out += struct.pack(_NUMBERS[kind], value)
    elif kind in ("s", "o"):
        text = value.encode()
        out += struct.pack("<I", len(text)) + text + b"\0"
    elif kind == "g":
        out += bytes([len(value)]) + value.encode() + b"\0"
    elif kind == "v":
        _put(out, "g", value[0])
        _put(out, value[0], value[1])
    elif kind[0] in "({":
        for part, item in zip(split_signature(kind[1:-1]), value):
            _put(out, part, item)
    else:  # an array: its length in bytes, without the padding before the first element
        length_at = len(out)
        out += bytes(4)
        out += bytes(-len(out) % _ALIGNMENT[kind[1]])
        first = len(out)
        for item in value:
            _put(out, kind[1:], item)
        struct.pack_into("<I", out, length_at, len(out) - first)


def unmarshal(signature: str, content: bytes) -> list[Any]:
    """The values in a message's body; a variant is its value alone."""
    values, offset = [], 0
    for kind in split_signature(signature):
        value, offset = _get(content, offset, kind)
        values.append(value)
    return values


def _get(content: bytes, offset: int, kind: str) -> tuple[Any, int]:
    offset += -offset % _ALIGNMENT[kind[0]]
    if kind in _NUMBERS:
        return struct.unpack_from(_NUMBERS[kind], content, offset)[0], offset + struct.calcsize(_NUMBERS[kind])
    if kind in ("s", "o", "g"):
        size = 1 if kind == "g" else 4
        length = int.from_bytes(content[offset : offset + size], "little")
        return content[offset + size : offset + size + length].decode(), offset + size + length + 1
    if kind == "v":
        inner, offset = _get(content, offset, "g")
        return _get(content, offset, inner)
    items = []
    if kind[0] in "({":
        for part in split_signature(kind[1:-1]):
            item, offset = _get(content, offset, part)
            items.append(item)
        return tuple(items), offset
    length = int.from_bytes(content[offset : offset + 4], "little")
    offset += 4
    offset += -offset % _ALIGNMENT[kind[1]]
    end = offset + length
    while offset < end:
        item, offset = _get(content, offset, kind[1:])
        items.append(item)
    return items, offset
