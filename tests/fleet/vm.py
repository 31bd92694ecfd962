# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The vm backend: hosts with a kernel of their own, Debian 12 under systemd with unified cgroup v2.

Each is a clone of one machine whose memory was kept right after its boot; it starts in about a second and is then
given its own name, address, MAC, machine id and time.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid

from . import namespace, qemu, switch
from .image import get_image
from .process import require, run
from .state import Host, State

NETWORK = """\
[Match]
Name=eth0
[Link]
MACAddress={mac}
[Network]
Address={address}/24
Gateway={gateway}
LinkLocalAddressing=no
"""
PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    qemu.QEMU: "qemu-system-x86",
    "qemu-img": "qemu-utils",
}


def make(state: State) -> None:
    require(PROGRAMS)
    image = get_image(state)
    state.processes.clear()  # those that built the image have ended; the switch is always the first
    switch_pid = namespace.make_switch(state)
    for index, host in enumerate(state.hosts):
        host.address = switch.address(state, index)
    shutil.copy(image / "id_ed25519", state.directory / "id_ed25519")
    host_key = (image / "host_key.pub").read_text().strip()
    (state.directory / "known_hosts").write_text(
        "".join(f"{host.name},{host.address} {host_key}\n" for host in state.hosts)
    )
    children = []
    for index, host in enumerate(state.hosts):
        disk = state.scratch(host.name) / "disk.qcow2"
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image / "disk.raw"), str(disk)])
        run(
            [*switch.inside(switch_pid), "ip", "-batch", "-"],
            f"tuntap add host{index} mode tap\nlink set host{index} master bridge up\n",
        )
        argv = qemu.qemu_argv(
            image,
            disk,
            "qcow2",
            f"host{index}",
            state.sockets,
            host.name,
            log=state.directory / f"{host.name}.console",
            memory=image / "memory",
        )
        children.append(_start(state, host, switch_pid, argv))
    for index, host in enumerate(state.hosts):
        with qemu.Monitor(state.sockets / f"{host.name}.qmp") as monitor:
            monitor.resume()
        with qemu.Shell(state.sockets / f"{host.name}.shell") as shell:
            shell.run(make_individual(state, host, index))


def _start(state: State, host: Host, switch_pid: int, argv: list[str]) -> subprocess.Popen[str]:
    gate = len(qemu.GATE)
    child = state.spawn([*argv[:gate], *switch.inside(switch_pid), *argv[gate:]], state.directory / f"{host.name}.log")
    host.process = state.processes[-1]
    state.save()
    assert child.stdin
    child.stdin.write("go\n")
    child.stdin.flush()
    return child


def make_individual(state: State, host: Host, index: int) -> str:
    """The script that turns a clone into this host; what it writes also holds after a reboot."""
    number = int(state.subnet.rpartition(".")[2])
    network = NETWORK.format(
        mac=f"52:54:0a:d5:{number:02x}:{switch.FIRST_HOST + index:02x}",
        address=host.address,
        gateway=f"{state.subnet}.1",
    )
    return f"""
date -u -s @{time.time():.2f} >/dev/null
echo {uuid.uuid4().hex} > /etc/machine-id
echo {uuid.uuid4().hex}{uuid.uuid4().hex} > /dev/urandom
echo {host.name} > /etc/hostname
hostname {host.name}
cat > /etc/hosts <<'END'
{switch.hosts_file(state)}END
cat > /etc/systemd/network/10-eth0.network <<'END'
{network}END
networkctl reload"""
