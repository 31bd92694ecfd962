# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``linux.netDevices``: devices of the host that move into a container's network namespace (runtime-spec 1.3,
config-linux.md, Network Devices).

They keep what they have, permanent addresses of global scope too, and are up in the end. When the namespace ends the
kernel gives physical devices back and destroys the others; where the container fails to be created, we give them back.
Errors: InvalidOption before anything is made, RuntimeFailed.
"""

from __future__ import annotations

import os

from ...errors import InvalidOption, KernelError, RuntimeFailed
from ...linux.lean import suppress
from ...linux.link_moves import add_permanent_address, dump_permanent_addresses, move_link, take_link_down
from ...linux.netlink import Netlink
from ...linux.rtnetlink import dump_links, get_link, set_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...linux.rtnetlink import Link

_MOST_BYTES = 15  # IFNAMSIZ in linux/if.h, less the closing zero


def is_device_name(name: str) -> bool:
    """What the kernel takes for the name of a device (dev_valid_name() in net/core/dev.c)."""
    fits = 0 < len(name.encode()) <= _MOST_BYTES and name not in (".", "..")
    return fits and not any(character in "/:" or character.isspace() for character in name)


def check_net_devices(devices: Mapping[str, Any], namespaces: Mapping[str, str]) -> None:
    """Raise InvalidOption for a device that is not there or that cannot have its name."""
    where = "linux.netDevices"
    if "network" not in namespaces:
        raise InvalidOption(where, sorted(devices), "a network namespace in linux.namespaces to go with it")
    new_names: dict[str, str] = {}
    with Netlink() as netlink:
        for name, device in devices.items():
            expected = "a device that is in the network namespace of the runtime, and can leave it"
            if not is_device_name(name) or name == "lo" or get_link(netlink, name) is None:
                raise InvalidOption(where, name, expected)
            new_name = device.get("name") or name
            # dev_alloc_name(): one %d, and no other per cent sign.
            if not is_device_name(new_name) or new_name.replace("%d", "", 1).count("%"):
                raise InvalidOption(f"{where}.{name}.name", new_name, "the name of a device, or one with %d")
            if "%d" not in new_name and new_name in new_names:
                raise InvalidOption(
                    f"{where}.{name}.name", new_name, f"another name than that of {new_names[new_name]}"
                )
            new_names[new_name] = name


class Moves:
    """What was moved into a namespace, so that it can be taken back."""

    def __init__(self, netns: int) -> None:
        self.netns = netns
        self.done: list[tuple[str, str, bool]] = []

    def move(self, devices: Mapping[str, Any]) -> None:
        """Move all. Raises RuntimeFailed; what was moved until then is in ``done``."""
        with Netlink() as here, Netlink(self.netns) as there:
            for name, device in devices.items():
                link = get_link(here, name)
                if link is None:
                    raise RuntimeFailed(f"linux.netDevices: the device {name} has gone")
                new_name = device.get("name") or name
                if "%d" not in new_name and get_link(there, new_name) is not None:
                    raise RuntimeFailed(f"linux.netDevices: there is a device {new_name} in the container already")
                try:
                    moved = _move(here, there, link, self.netns, new_name)
                    self.done.append((moved, name, link.up))
                except KernelError as error:
                    raise RuntimeFailed(f"linux.netDevices: {error}") from error

    def undo(self) -> None:
        """Give back what was moved, under its own name, as well as that is possible."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Netlink(self.netns) as there, Netlink() as here:
                while self.done:
                    moved, name, up = self.done.pop()
                    with suppress(KernelError):
                        link = get_link(there, moved)
                        if link is not None:
                            _move(there, here, link, home, name, up=up)
        finally:
            os.close(home)


def _move(here: Netlink, there: Netlink, link: Link, netns: int, new_name: str, *, up: bool = True) -> str:
    """Move one, with its addresses; the name that it has then."""
    # Before it goes down: that is what IPv6 addresses do not survive (Documentation/networking/ip-sysctl.rst,
    # keep_addr_on_down).
    addresses = dump_permanent_addresses(here, link.ifindex)
    before = {entry.ifindex for entry in dump_links(there)}
    here.execute([take_link_down(link.ifindex, link.name)])
    try:
        here.execute([move_link(link.ifindex, link.name, netns, new_name)])
    except KernelError:
        if link.up and get_link(here, link.name) is not None:
            here.execute([set_link(link.ifindex, link.name, up=True)])
            here.execute([add_permanent_address(link.ifindex, a) for a in addresses], tolerate=(17,))  # EEXIST
        raise
    moved = next(entry for entry in dump_links(there) if entry.ifindex not in before)
    there.execute([add_permanent_address(moved.ifindex, address) for address in addresses])
    if up:
        there.execute([set_link(moved.ifindex, moved.name, up=True)])
    return moved.name


def move_into(pid: int, devices: Mapping[str, Any]) -> Moves:
    """Move ``devices`` into the network namespace of a process. What was moved is given back where that fails."""
    moves = Moves(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
    try:
        moves.move(devices)
    except BaseException:
        moves.undo()
        os.close(moves.netns)
        raise
    return moves
