# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire format of the D-Bus specification, and a conversation over a real socket."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import BusError
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.dbus import (
    Connection,
    marshal,
    split_signature,
    unmarshal,
)


def test_signatures_are_split_into_complete_types():
    assert split_signature("ssa(sv)a(sa(sv))ua{sv}aas") == ["s", "s", "a(sv)", "a(sa(sv))", "u", "a{sv}", "aas"]


@pytest.mark.parametrize(
    ("signature", "values", "wire"),
    [
        ("yu", (1, 2), b"\1\0\0\0\2\0\0\0"),
        ("s", ("hi",), b"\2\0\0\0hi\0"),
        ("g", ("su",), b"\2su\0"),
        ("at", ([],), b"\0\0\0\0\0\0\0\0"),  # the padding stands, though there is no element
        ("at", ([5],), b"\x08\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0"),
        ("v", (("u", 7),), b"\1u\0\0\7\0\0\0"),
        ("ay", (b"\1\2",), b"\2\0\0\0\1\2"),
        ("(ys)", ((1, ""),), b"\1\0\0\0\0\0\0\0\0"),
    ],
)
def test_values_are_aligned_as_the_specification_says(signature, values, wire):
    assert marshal(signature, values) == wire


def test_what_is_marshalled_is_read_back():
    values = ("a.slice", [("MemoryMax", ("t", 2**64 - 1)), ("PIDs", ("au", [1, 2])), ("Delegate", ("b", True))], [])
    read = unmarshal("sa(sv)a(sa(sv))", marshal("sa(sv)a(sa(sv))", values))
    assert read == ["a.slice", [("MemoryMax", 2**64 - 1), ("PIDs", [1, 2]), ("Delegate", 1)], []]


class Peer(threading.Thread):
    """The other end: lets everyone in, then sends what it was given after each message that it reads."""

    def __init__(self, path, answers, welcome=(b"OK 0123\r\n",)):
        super().__init__(daemon=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._answers = answers
        self._welcome = welcome
        self.start()

    def run(self):
        connection, _rest = self._listener.accept()
        self.greeting = connection.recv(512)
        for part in self._welcome:
            connection.sendall(part)
            time.sleep(0.05)
        for answer in self._answers:
            if connection.recv(4096):
                connection.sendall(answer)
        connection.close()
        self._listener.close()


def message(kind, serial, signature, *values, error=""):
    body = marshal(signature, values)
    fields = [(5, ("u", serial)), (8, ("g", signature))] + ([(4, ("s", error))] if error else [])
    head = marshal("yyyyuua(yv)", (ord("l"), kind, 0, 1, len(body), 9, fields))
    return head + bytes(-len(head) % 8) + body


def test_a_call_returns_what_was_answered_and_skips_signals(tmp_path):
    path = str(tmp_path / "socket")
    peer = Peer(path, [message(4, 77, "a{sv}", [("x", ("u", 1))]) + message(2, 1, "o", "/job/5")])
    with Connection(path) as bus:
        assert bus.call("org.x", "/x", "org.x.Y", "Z", "s", ("v",)) == ["/job/5"]
    assert peer.greeting == b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n"


@pytest.mark.parametrize("cut", [0, 3, 9, 20, -1])
def test_signals_may_come_with_the_welcome(tmp_path, cut):
    """systemd sends them from BEGIN on, and a read may end anywhere."""
    path = str(tmp_path / "socket")
    welcome = b"OK 0123\r\n" + message(4, 77, "as", ["x" * 90] * 9)
    Peer(path, [message(2, 1, "o", "/job/5")], [part for part in (welcome[:cut], welcome[cut:]) if part])
    with Connection(path) as bus:
        assert bus.call("org.x", "/x", "org.x.Y", "Z", "s", ("v",)) == ["/job/5"]


@pytest.mark.parametrize("welcome", [b"REJECTED EXTERNAL\r\n", b"ERROR\r\n", b"", b"x" * 2000])
def test_who_is_not_let_in_is_told(tmp_path, welcome):
    path = str(tmp_path / "socket")
    Peer(path, [], [welcome])
    with pytest.raises(BusError, match=f"socket does not let user {os.geteuid()} in"):
        Connection(path)


def test_a_refusal_has_its_name_and_words(tmp_path):
    path = str(tmp_path / "socket")
    Peer(path, [message(3, 1, "s", "no such unit", error="org.x.NoSuchUnit")])
    with Connection(path) as bus, pytest.raises(BusError, match=r"^Z was refused: no such unit$") as raised:
        bus.call("org.x", "/x", "org.x.Y", "Z", "", ())
    assert raised.value.name == "org.x.NoSuchUnit"


def test_a_peer_that_goes_away_or_keeps_silent_is_told(tmp_path):
    path = str(tmp_path / "socket")
    Peer(path, [b""])
    with Connection(path) as bus, pytest.raises(BusError, match=r"closed"):
        bus.call("org.x", "/x", "org.x.Y", "Z", "", ())
    silent = str(tmp_path / "silent")
    Peer(silent, [b"", b""])  # reads, and waits for a second message
    with Connection(silent, timeout=0.1) as bus, pytest.raises(BusError, match=r"no answer .* 0\.1 s"):
        bus.call("org.x", "/x", "org.x.Y", "Z", "", ())


def test_nobody_there_names_the_socket(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nobody"):
        Connection(str(tmp_path / "nobody"))
