# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd's units, through its own socket: transient slices for named cgroups, transient scopes for containers.

Everything is transient (org.freedesktop.systemd1(5), StartTransientUnit()), so it is gone with a reboot and leaves no
file behind.
"""

from __future__ import annotations

import errno
import time

from ..errors import BusError, InvalidOption, KernelError, Unsupported
from ..linux.dbus import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    # A name, a D-Bus signature and a value of that type.
    Property = tuple[str, str, Any]

# The manager itself listens here, with or without a D-Bus daemon, and lets root in.
SOCKET = "/run/systemd/private"
_SYSTEMD = "org.freedesktop.systemd1"
_OBJECT = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_PROPERTIES = "org.freedesktop.DBus.Properties"

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")
_MOST_NAME = 255  # UNIT_NAME_MAX, src/basic/unit-def.h


def escape(text: str) -> str:
    """Text within a unit's name, as systemd.unit(5), "String Escaping", has it: a dash would nest slices."""
    return "".join(c if c in _PLAIN else "".join(f"\\x{byte:02x}" for byte in c.encode()) for c in text)


def unit_name(path: str, kind: str) -> str:
    """The unit of a path: ``stowage/a-b`` and ``slice`` are ``stowage-a\\x2db.slice``. InvalidOption if too long."""
    name = "-".join(escape(part) for part in path.split("/")) + "." + kind
    if len(name) > _MOST_NAME:
        raise InvalidOption("cgroup", path, f"a path whose systemd unit has at most {_MOST_NAME} characters; nest less")
    return name


def slice_path(name: str) -> str:
    """Where a slice is in the cgroup tree: ``a-b.slice`` is in ``a.slice/a-b.slice`` (systemd.slice(5))."""
    parts = name[: -len(".slice")].split("-")
    return "/".join("-".join(parts[: count + 1]) + ".slice" for count in range(len(parts)))


class Units:
    """Calls to systemd. Each waits until systemd has done what was asked."""

    def __init__(self, socket: str = SOCKET, *, timeout: float = 30.0) -> None:
        self._socket = socket
        self._timeout = timeout

    def start_slice(self, name: str, properties: Sequence[Property]) -> None:
        """Start a transient slice with these properties, or set them on the one that is there."""
        with self._connect() as bus:
            try:
                described: Property = ("Description", "s", "Stowage cgroup")
                self._start(bus, name, [described, *properties])
            except BusError as error:
                if error.name != f"{_SYSTEMD}.UnitExists":
                    raise
                self._wait(bus, _manager(bus, "StartUnit", "ss", (name, "replace")), name)
                if properties:
                    self._set(bus, name, properties)

    def set_properties(self, name: str, properties: Sequence[Property]) -> None:
        """Set properties until the next reboot; systemd writes them to the cgroup's files also if it knew them."""
        with self._connect() as bus:
            self._set(bus, name, properties)

    def start_scope(self, name: str, slice_name: str, pid: int) -> None:
        """Put the process ``pid`` in a scope of its own, whose cgroup is ours to divide (Delegate=yes)."""
        properties: list[Property] = [
            ("Description", "s", "Stowage container"),
            ("Slice", "s", slice_name),
            ("Delegate", "b", True),
            ("CollectMode", "s", "inactive-or-failed"),
            ("PIDs", "au", [pid]),
        ]
        with self._connect() as bus:
            try:
                self._start(bus, name, properties)
            except BusError as error:
                if error.name != f"{_SYSTEMD}.UnitExists":
                    raise
                # What a killed run left: its processes are gone, or are those of the container being made anew.
                self._stop(bus, name)
                self._start(bus, name, properties)

    def stop(self, name: str) -> None:
        """Stop a unit, and forget it where it failed; content where there is none. What runs in it is ended."""
        with self._connect() as bus:
            self._stop(bus, name)

    # --------------------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        try:
            return Connection(self._socket)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
                raise Unsupported(f"systemd does not answer at {self._socket}; is it process 1 here?") from error
            raise KernelError("connecting to systemd", error) from error

    def _start(self, bus: Connection, name: str, properties: Sequence[Property]) -> None:
        wire = [(key, (kind, value)) for key, kind, value in properties]
        self._wait(bus, _manager(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", (name, "replace", wire, [])), name)

    def _set(self, bus: Connection, name: str, properties: Sequence[Property]) -> None:
        wire = [(key, (kind, value)) for key, kind, value in properties]
        _manager(bus, "SetUnitProperties", "sba(sv)", (name, True, wire))

    def _stop(self, bus: Connection, name: str) -> None:
        for member, signature, values in (("StopUnit", "ss", (name, "replace")), ("ResetFailedUnit", "s", (name,))):
            try:
                answer = _manager(bus, member, signature, values)
                if answer:
                    self._wait(bus, answer, name)
            except BusError as error:
                if error.name != f"{_SYSTEMD}.NoSuchUnit":
                    raise

    def _wait(self, bus: Connection, answer: list[Any], unit: str) -> None:
        """Until the job that systemd answered with is done: its object is gone then."""
        end = time.monotonic() + self._timeout
        pause = 0.0005
        while True:
            try:
                bus.call(_SYSTEMD, answer[0], _PROPERTIES, "Get", "ss", (f"{_SYSTEMD}.Job", "State"))
            except BusError as error:
                if error.name.endswith((".UnknownObject", ".UnknownMethod", ".UnknownInterface")):
                    return
                raise
            if time.monotonic() > end:
                raise BusError(f"systemd is not done with {unit} after {self._timeout:g} s", "see: systemctl list-jobs")
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


def _manager(bus: Connection, member: str, signature: str, values: tuple[Any, ...]) -> list[Any]:
    try:
        return bus.call(_SYSTEMD, _OBJECT, _MANAGER, member, signature, values)
    except BusError as error:
        raise BusError(f"systemd: {member} of {values[0]}", str(error), error.name) from error
