# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sysctls of a network namespace: files under /proc/sys/net/ipv4 (ip-sysctl.rst). /proc shows the caller's own."""

from __future__ import annotations

from ..errors import KernelError

_ROOT = "/proc/sys/net/ipv4/"


def forwards(link: str) -> bool:
    """Whether packets that come in by ``link`` are forwarded, and the host as a whole forwards."""
    return _read("ip_forward") == "1" and _read(f"conf/{link}/forwarding") == "1"


def enable_forwarding(link: str) -> None:
    """Forward packets of ``link``. The host's switch comes first: turning it sets that of every link."""
    _set("ip_forward", "1")
    _set(f"conf/{link}/forwarding", "1")


def enable_localnet(link: str) -> None:
    """Let answers to 127.0.0.1 come in by ``link``: published ports work on the host's 127.0.0.1 too."""
    _set(f"conf/{link}/route_localnet", "1")


def _read(name: str) -> str:
    try:
        with open(_ROOT + name, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _set(name: str, value: str) -> None:
    if _read(name) == value:
        return
    try:
        with open(_ROOT + name, "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        raise KernelError(f"setting the sysctl to {value}", error) from error
