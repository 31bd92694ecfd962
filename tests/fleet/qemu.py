# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One qemu process: its command line, its monitor, and a root shell on a serial line.

Emulated in software (TCG), so that it runs wherever qemu does. A clone must be given the same machine as the one
whose memory it loads, so the whole command line is made here.
"""

from __future__ import annotations

import json
import shlex
import socket
import time
from pathlib import Path
from typing import Any

from .errors import FleetError
from .process import wait_until

QEMU = "qemu-system-x86_64"
MACHINE = [
    QEMU,
    "-machine",
    "q35",
    "-accel",
    "tcg,thread=multi,tb-size=128",
    "-cpu",
    "max",
    "-smp",
    "2",
    "-m",
    "512",
    "-nodefaults",
    "-display",
    "none",
    "-rtc",
    "base=utc,clock=host",
    "-device",
    "vmgenid,guid=auto",
    "-object",
    "rng-random,filename=/dev/urandom,id=entropy",
    "-device",
    "virtio-rng-pci,rng=entropy",
]
KERNEL_OPTIONS = "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet mitigations=off systemd.show_status=no"
GATE = ["/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "gate"]


def qemu_argv(
    image: Path,
    disk: Path,
    disk_format: str,
    tap: str,
    sockets: Path,
    name: str,
    *,
    log: Path,
    memory: Path | None = None,
) -> list[str]:
    """Waits for a line on standard input, then is qemu; with `memory` it goes on from there instead of booting."""
    return [
        *GATE,
        *MACHINE,
        "-name",
        name,
        "-kernel",
        str(image / "vmlinuz"),
        "-initrd",
        str(image / "initrd.img"),
        "-append",
        KERNEL_OPTIONS,
        "-drive",
        f"file={disk},format={disk_format},if=virtio,cache=unsafe,discard=unmap",
        "-netdev",
        f"tap,id=underlay,ifname={tap},script=no,downscript=no",
        "-device",
        "virtio-net-pci,netdev=underlay,romfile=",
        "-serial",
        f"file:{log}",
        "-serial",
        f"unix:{sockets / name}.shell,server=on,wait=off",
        "-qmp",
        f"unix:{sockets / name}.qmp,server=on,wait=off",
        *(["-incoming", f"exec:cat {shlex.quote(str(memory))}"] if memory else []),
    ]


def _connect(path: Path, timeout: float = 20) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)

    def connected() -> bool:
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True

    try:
        wait_until(connected, f"qemu at {path}", timeout)
    except FleetError:
        connection.close()
        raise
    return connection


class Monitor:
    """qemu's machine protocol: QEMU Machine Protocol Specification, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._socket = _connect(path)
        self._lines = self._socket.makefile("r")
        self._lines.readline()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer:
                raise FleetError(f"qemu refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise FleetError(f"qemu ended during {command}")

    def save_memory(self, path: Path, timeout: float = 120) -> None:
        """Stops the machine and writes all of it but its disk."""
        self.execute("stop")
        self.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.execute("migrate", uri=f"exec:cat > {shlex.quote(str(path))}")

        def saved() -> bool:
            status = self.execute("query-migrate").get("status")
            if status == "failed":
                raise FleetError(f"qemu could not write its memory to {path}; is the disk full?")
            return bool(status == "completed")

        wait_until(saved, f"qemu to write {path}", timeout)

    def resume(self, timeout: float = 60) -> None:
        """Lets a machine run that has been started with a saved memory, once that is loaded."""
        wait_until(lambda: self.execute("query-status")["status"] != "inmigrate", "qemu to load its memory", timeout)
        self.execute("cont")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_rest: object) -> None:
        self._lines.close()
        self._socket.close()


class Shell:
    """A root shell on the second serial line: the way in before there is a network."""

    def __init__(self, path: Path) -> None:
        self._socket = _connect(path)

    def await_greeting(self, word: str, timeout: float) -> None:
        """Returns when the shell of a machine that boots has said `word`; what is sent before would be echoed."""
        self._socket.settimeout(timeout)
        told = ""
        try:
            while f"{word}\n" not in told.replace("\r", ""):
                told += self._socket.recv(65536).decode(errors="replace")
        except OSError as error:
            raise FleetError(f"the machine has no serial shell {timeout:.0f} s after its start") from error

    def run(self, script: str, timeout: float = 60) -> str:
        """What the script printed. FleetError when its last command failed."""
        mark = f"done-{time.monotonic_ns()}"
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(f"( set -e\n{script}\n) 2>&1; echo {mark} $?\n".encode())
            told = ""
            while f"{mark} " not in told or not told.endswith("\n"):
                told += self._socket.recv(65536).decode(errors="replace")
        except OSError as error:
            raise FleetError(f"the machine's serial shell did not finish within {timeout:.0f} s: {script}") from error
        output, _rest, status = told.rpartition(f"{mark} ")
        if status.strip() != "0":
            raise FleetError(f"the machine's serial shell: status {status.strip()} of: {script}\n{output}")
        return output

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_rest: object) -> None:
        self._socket.close()
