# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The namespace backend: a host in about a second, on the machine's own kernel.

A host is six namespaces (network, mount, UTS, pid, IPC, cgroup) around a copy-on-write view of the machine's root.
What it shares with the machine is the kernel: clock, modules, `/proc/sys` outside of net, and no systemd.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from . import cgroups, switch
from .errors import FleetError
from .process import require, run
from .ssh import SSHD_CONFIG, make_key
from .state import Host, State

INIT = ["/usr/bin/python3", "-I", "-S", str(Path(__file__).with_name("init.py"))]
ETC = "/etc/stowage-fleet"
PROGRAMS = {"ip": "iproute2", "nsenter": "util-linux", "sshd": "openssh-server", "ssh": "openssh-client"}


def make(state: State) -> None:
    require(PROGRAMS)
    make_switch(state)
    user_key = make_key(state.directory / "id_ed25519", f"fleet {state.name}")
    for index, host in enumerate(state.hosts):
        host.address = switch.address(state, index)
    children = [_start(state, host, user_key) for host in state.hosts]
    for index, (host, child) in enumerate(zip(state.hosts, children)):
        _expect(child, "made", state, host.name)
        switch_pid = state.processes[0].pid
        run(
            [*switch.inside(switch_pid), "ip", "-batch", "-"],
            f"link add host{index} mtu {switch.MTU} type veth "
            f"peer name eth0 mtu {switch.MTU} netns {child.pid}\n"
            f"link set host{index} master bridge up\n",
        )
        _tell(child, "linked")
    for host, child in zip(state.hosts, children):
        _expect(child, "ready", state, host.name)


def make_switch(state: State) -> int:
    """The process whose network namespace is the fleet's switch: always the first that is recorded."""
    child = state.spawn(INIT, state.directory / "switch.log")
    name = state.cgroup_prefix + "switch"
    paths = [str(cgroups.make(hierarchy, name)) for hierarchy in cgroups.observe_hierarchies()]
    _tell(child, json.dumps({"cgroups": paths}))
    _expect(child, "made", state, "switch")
    switch.make_switch(state, child.pid)
    return child.pid


def _start(state: State, host: Host, user_key: str) -> subprocess.Popen[str]:
    scratch = state.scratch(host.name)
    host_key = make_key(scratch / "host_key", host.name)
    with (state.directory / "known_hosts").open("a") as known:
        known.write(f"{host.name},{host.address} {host_key}\n")
    hierarchies = cgroups.observe_hierarchies()
    child = state.spawn(INIT, state.directory / f"{host.name}.log")
    host.process = state.processes[-1]
    state.save()
    _tell(
        child,
        json.dumps(
            {
                "name": host.name,
                "scratch": str(scratch),
                "cgroups": [str(cgroups.make(hierarchy, state.cgroup_prefix + host.name)) for hierarchy in hierarchies],
                "hierarchies": [
                    [str(h.mount), "cgroup2" if h.version == 2 else "cgroup", h.options] for h in hierarchies
                ],
                "files": {
                    "/etc/hosts": [0o644, switch.hosts_file(state)],
                    "/etc/hostname": [0o644, f"{host.name}\n"],
                    "/run/sshd/.keep": [0o644, ""],
                    # bash reads it when sshd runs it; what this machine's says is slow at times, and no host's.
                    "/root/.bashrc": [0o644, ""],
                    f"{ETC}/sshd_config": [0o644, SSHD_CONFIG.format(etc=ETC)],
                    f"{ETC}/host_key": [0o600, (scratch / "host_key").read_text()],
                    f"{ETC}/authorized_keys": [0o600, f"{user_key}\n"],
                },
                "ip": f"link set lo up\naddress add {host.address}/24 dev eth0\nlink set eth0 up\n"
                f"route add default via {state.subnet}.1\n",
                "sshd": ["/usr/sbin/sshd", "-D", "-e", "-f", f"{ETC}/sshd_config"],
            }
        ),
    )
    return child


def _tell(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin
    try:
        child.stdin.write(line + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        pass  # it ended, and _expect tells why


def _expect(child: subprocess.Popen[str], word: str, state: State, name: str) -> None:
    assert child.stdout
    if child.stdout.readline().strip() != word:
        log = state.directory / f"{name}.log"
        raise FleetError(f"host {name} did not come to {word!r}: {log.read_text().strip() or 'it said nothing'}")
