# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The underlay: a bridge that joins a fleet's hosts, in a network namespace of its own.

The bridge is kept out of the machine's namespace because where `bridge-nf-call-iptables` is 1 the machine's FORWARD
chain sees bridged frames too, and Docker sets its policy to DROP. One veth leads out to the machine, which has the
address .1; the hosts are .11, .12, ...
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import FleetError
from .process import run, wait_until
from .state import State

FIRST_HOST = 11
MTU = 1500


@contextlib.contextmanager
def machine_lock(timeout: float = 30) -> Iterator[None]:
    """Held by one process of this machine at a time; an abstract socket vanishes with its owner (unix(7))."""
    end = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX) as lock:
        while True:
            try:
                lock.bind("\0stowage-fleet")
                break
            except OSError:
                if time.monotonic() > end:
                    raise FleetError(
                        f"another fleet has been choosing its subnet for {timeout:.0f} s; "
                        "is one stopped (state T in ps)?"
                    ) from None
                time.sleep(0.01)
        yield


def make_switch(state: State, pid: int) -> None:
    """Fills the network namespace of process `pid` with the bridge, joins it to the machine, sets `state.subnet`."""
    with machine_lock():
        state.subnet = f"10.213.{_free_subnet(int(state.hash, 16))}"
        state.save()
        run(
            ["ip", "-batch", "-"],
            f"link add {state.link} mtu {MTU} type veth peer name machine netns {pid}\n"
            f"address add {state.subnet}.1/24 dev {state.link}\n"
            f"link set {state.link} up\n",
        )
    run(
        [*inside(pid), "ip", "-batch", "-"],
        "link add bridge type bridge\nlink set bridge up\nlink set machine master bridge up\nlink set lo up\n",
    )


def remove(state: State) -> None:
    """Deletes the machine's end; the kernel may be at it already, since the other end went with its process."""
    link = Path("/sys/class/net", state.link)
    if link.exists():
        try:
            run(["ip", "link", "delete", state.link])
        except FleetError:
            wait_until(lambda: not link.exists(), f"link {state.link} to go; see ip link show {state.link}", 10)


def _free_subnet(start: int) -> int:
    taken = {
        address["local"]
        for link in json.loads(run(["ip", "-j", "-4", "address"]))
        for address in link.get("addr_info", [])
    }
    for offset in range(254):
        number = 1 + (start + offset) % 254
        if f"10.213.{number}.1" not in taken:
            return number
    raise FleetError("all of 10.213.1.0/24 to 10.213.254.0/24 are taken on this machine; take some fleets down")


def inside(pid: int) -> list[str]:
    """The beginning of a command line that runs in the network namespace of process `pid`."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]


def address(state: State, index: int) -> str:
    return f"{state.subnet}.{FIRST_HOST + index}"


def hosts_file(state: State) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    return "".join(f"{line}\n" for line in lines + [f"{host.address} {host.name}" for host in state.hosts])
