# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SSH to a fleet's hosts: keys, the servers' settings, the client's, and Ansible's inventory."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
from functools import partial
from pathlib import Path

from .process import run, wait_until
from .state import State

SSHD_CONFIG = """\
Port 22
HostKey {etc}/host_key
AuthorizedKeysFile {etc}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PidFile /run/sshd.pid
PrintMotd no
MaxSessions 100
MaxStartups 100:30:200
Subsystem sftp internal-sftp
"""
# A shared connection to a host that was rebooted ends after half a minute instead of hanging.
PATIENCE = {"ConnectTimeout": "20", "ServerAliveInterval": "10", "ServerAliveCountMax": "3"}


def make_key(path: Path, comment: str) -> str:
    """Makes a key pair; returns the public half."""
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return path.with_name(f"{path.name}.pub").read_text().strip()


def write_client_files(state: State) -> None:
    """`ssh_config` (ssh -F) and `inventory.yml` (ansible -i) in the fleet's directory."""
    directory = state.directory
    shared = {"ControlMaster": "auto", "ControlPersist": "60s", "ControlPath": f"{state.sockets}/ssh-%h"}
    trust = {"UserKnownHostsFile": str(directory / "known_hosts"), "StrictHostKeyChecking": "yes"}
    (directory / "ssh_config").write_text(
        "".join(
            f"Host {host.name} {host.address}\n  HostName {host.address}\n  User root\n"
            f"  IdentityFile {directory}/id_ed25519\n  IdentitiesOnly yes\n  BatchMode yes\n  LogLevel ERROR\n"
            + "".join(f"  {key} {value}\n" for key, value in {**trust, **PATIENCE, **shared}.items())
            for host in state.hosts
        )
    )
    options = {**trust, **PATIENCE, "BatchMode": "yes", "IdentitiesOnly": "yes"}
    nodes = {
        "vars": {
            "ansible_port": 22,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(directory / "id_ed25519"),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_args": " ".join(f"-o {key}={value}" for key, value in shared.items()),
            "ansible_ssh_common_args": " ".join(f"-o {key}={value}" for key, value in options.items()),
        },
        "hosts": {host.name: {"ansible_host": host.address} for host in state.hosts},
    }
    # JSON is YAML, and needs no library
    (directory / "inventory.yml").write_text(json.dumps({"nodes": nodes}, indent=2) + "\n")


def await_servers(state: State, timeout: float = 60) -> None:
    """Returns when each host's sshd greets; FleetError names the first that does not."""
    for host in state.hosts:
        wait_until(
            partial(_greets, host.address),
            f"sshd of host {host.name} at {host.address}:22; see the logs in {state.directory}",
            timeout,
        )


def _greets(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def close_connections(state: State) -> None:
    """Ends the shared connections that ssh and Ansible left open, before their hosts go."""
    for path in state.sockets.glob("ssh-*") if state.sockets.is_dir() else ():
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["ssh", "-F", "/dev/null", "-o", f"ControlPath={path}", "-O", "exit", "host"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=5,
                check=False,
            )
    shutil.rmtree(state.sockets, ignore_errors=True)
