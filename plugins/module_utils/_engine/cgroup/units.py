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
from ..model.quantities import parse_cpu_list

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

# CPUQuotaPeriodUSec came with systemd 242, the lists with 244; RHEL 8 has 239.
_YOUNG = ("CPUQuotaPeriodUSec", "AllowedCPUs", "AllowedMemoryNodes")

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


class Units:
    """Calls to systemd. Each waits until systemd has done what was asked."""

    def __init__(self, socket: str = SOCKET, *, user: int | None = None, timeout: float = 30.0) -> None:
        self._socket = socket
        self._user = user
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

    def start_scope(self, name: str, slice_name: str, pid: int, properties: Sequence[Property] = ()) -> None:
        """Put the process ``pid`` in a scope of its own, whose cgroup is ours to divide (Delegate=yes)."""
        properties = [
            ("Description", "s", "Stowage container"),
            ("Slice", "s", slice_name),
            ("Delegate", "b", True),
            ("CollectMode", "s", "inactive-or-failed"),
            ("PIDs", "au", [pid]),
            *properties,
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

    def attach(self, name: str, cgroup: str, pid: int) -> None:
        """Put a process into a cgroup that a unit has in its own, also where we may not move it (systemd 238)."""
        with self._connect() as bus:
            _manager(bus, "AttachProcessesToUnit", "ssau", (name, cgroup, [pid]))

    def control_group(self) -> str:
        """The cgroup that this systemd is at the top of."""
        with self._connect() as bus:
            return str(bus.call(_SYSTEMD, _OBJECT, _PROPERTIES, "Get", "ss", (_MANAGER, "ControlGroup"))[0])

    # --------------------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        try:
            return Connection(self._socket, user=self._user)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
                raise Unsupported(f"systemd does not answer at {self._socket}; is it process 1 here?") from error
            raise KernelError("connecting to systemd", error) from error

    def _start(self, bus: Connection, name: str, properties: Sequence[Property]) -> None:
        wire = [(key, (kind, value)) for key, kind, value in properties]
        self._wait(bus, _manager(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", (name, "replace", wire, [])), name)

    def _set(self, bus: Connection, name: str, properties: Sequence[Property]) -> None:
        """A property that this systemd does not know yet is left out: our own files hold the limit too."""
        wanted = list(properties)
        while wanted:
            wire = [(key, (kind, value)) for key, kind, value in wanted]
            try:
                _manager(bus, "SetUnitProperties", "sba(sv)", (name, True, wire))
                return
            except BusError as error:
                # "Cannot set property CPUQuotaPeriodUSec, or unknown property."
                unknown = [entry for entry in wanted if entry[0] in _YOUNG and f" {entry[0]}," in str(error)]
                if not unknown:
                    raise
                wanted.remove(unknown[0])

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


def cpu_mask(cpus: str) -> bytes:
    """A list of numbers as systemd takes it: bit n of the bytes is number n."""
    number = sum(1 << cpu for cpu in parse_cpu_list("cpuset", cpus))
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def _manager(bus: Connection, member: str, signature: str, values: tuple[Any, ...]) -> list[Any]:
    try:
        return bus.call(_SYSTEMD, _OBJECT, _MANAGER, member, signature, values)
    except BusError as error:
        raise BusError(f"systemd: {member} of {values[0]}", str(error), error.name) from error
