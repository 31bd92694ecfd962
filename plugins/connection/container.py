# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks in a running container, through whatever connection leads to the host that has it.

Promise: nothing of the container's files is touched from outside of it. Commands and files go through
``stowage exec``, so a link in the container leads nowhere but to files of the container.
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: container
short_description: Run tasks in a container of this engine
version_added: 0.2.0
author: Stowage contributors (@stowage)
description:
  - Makes a running container a host of the inventory. Commands run in it by C(stowage exec), files go in and out as
    streams of such commands.
  - The container may be on the controller, or on any host that another connection plugin reaches (O(via)), with
    that plugin's usual variables (C(ansible_host), C(ansible_user), C(ansible_ssh_*) ...).
  - C(become) works in the container, with whatever method it has. O(container_user) needs none.
requirements:
  - The command C(stowage) on the host that has the container, which M(stowage.engine.host) puts there, and the rights
    of root for it (O(stowage_command)).
  - In the container, C(sh) for anything, C(cat) and C(dd) for files. Modules need Python there, as on any host; without
    it, M(ansible.builtin.raw) and M(ansible.builtin.script) work.
options:
  container:
    description:
      - The container's name. Of a task that is delegated, it is the name of the host that it is delegated to.
    type: str
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_stowage_container
  container_user:
    description:
      - The user that commands run as in the container, by name or number, with C(:group) after it if wanted. The
        container's own, unless this says another.
    type: str
    vars:
      - name: ansible_stowage_user
  via:
    description:
      - The connection plugin that leads to the host that has the container. V(local) is the controller itself.
    type: str
    default: local
    vars:
      - name: ansible_stowage_via
  stowage_command:
    description:
      - The command on that host, and what goes before it, such as V(sudo -n stowage).
    type: str
    default: stowage
    vars:
      - name: ansible_stowage_command
"""

EXAMPLES = r"""
- name: Have a container to work in
  hosts: localhost
  tasks:
    - name: Start it
      stowage.engine.container:
        name: work
        image: debian:12
        command: [sleep, infinity]

    - name: Make it a host of the inventory
      ansible.builtin.add_host:
        name: work
        ansible_connection: stowage.engine.container

- name: Change it
  hosts: work
  gather_facts: false
  tasks:
    - name: Install Python, which other modules need
      ansible.builtin.raw: apt-get update && apt-get install -y python3-apt
      changed_when: true

    - name: Install a program
      ansible.builtin.apt:
        name: nginx-light

# An inventory entry for a container of another host:
#   web-on-node1:
#     ansible_connection: stowage.engine.container
#     ansible_stowage_container: web
#     ansible_stowage_via: ssh
#     ansible_stowage_command: sudo -n stowage
#     ansible_host: node1.example.com
#     ansible_user: deploy
"""

import os
import shlex
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.plugins.connection import ConnectionBase
from ansible.plugins.loader import connection_loader

# Of a file at a time: other connections take and give whole streams in memory.
_PIECE = 8 << 20


class Connection(ConnectionBase):
    """See DOCUMENTATION."""

    transport = "stowage.engine.container"
    has_pipelining = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._task_uuid = kwargs.get("task_uuid", "")
        self._connection: Any = None

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        """Take the options, and make the connection to the host, whose own Ansible sets next (its _sub_plugin)."""
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        via = self.get_option("via")
        if self._connection is None:
            self._connection = connection_loader.get(via, self._play_context, task_uuid=self._task_uuid)
            if self._connection is None:
                raise AnsibleError(f"via: {via!r} is no connection plugin that is installed here")
        self._sub_plugin = {"type": "connection", "name": via, "obj": self._connection}

    def _connect(self) -> Connection:
        if not self._connected:
            self._connection._connect()
            self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run ``cmd`` by the container's shell; its exit code, output and errors."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        return self._run(["/bin/sh", "-c", cmd], in_data, sudoable=sudoable and self._asks_for_password())

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the controller into the container."""
        super().put_file(in_path, out_path)
        if not os.path.isfile(to_bytes(in_path)):
            raise AnsibleFileNotFound(f"there is no file {in_path} to copy into {self._name()}")
        where = shlex.quote(out_path)
        # Emptied first: without data some connections (ssh) leave the stream open, and cat would wait for its end.
        self._succeed(f": >{where}")
        with open(to_bytes(in_path), "rb") as file:
            while piece := file.read(_PIECE):
                self._succeed(f"cat >>{where}", piece)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the container to the controller."""
        super().fetch_file(in_path, out_path)
        where = shlex.quote(in_path)
        self._succeed(f"test -f {where} && test -r {where}")
        with open(to_bytes(out_path), "wb") as file:
            count = 0
            while True:
                piece = self._succeed(f"dd if={where} bs={_PIECE} skip={count} count=1 2>/dev/null")
                file.write(piece)
                count += 1
                if len(piece) < _PIECE:
                    return

    def close(self) -> None:
        """Let go of the connection to the host."""
        if self._connection is not None:
            self._connection.close()
        self._connected = False

    def reset(self) -> None:
        """Connect anew."""
        if hasattr(self._connection, "reset"):
            self._connection.reset()
        self._connected = False

    # In the container -------------------------------------------------------------------------------

    def _name(self) -> str:
        """The container; Ansible's inventory_hostname stays that of whoever delegates a task."""
        name, origin = self.get_option_and_origin("container")
        delegated = getattr(self._play_context, "delegate_to", None)
        return str(delegated if delegated and origin == "var: inventory_hostname" else name)

    def _asks_for_password(self) -> bool:
        return self.become is not None and self.become.expect_prompt()

    def _run(self, args: list[str], in_data: bytes | None, *, sudoable: bool = False) -> tuple[int, bytes, bytes]:
        user = self.get_option("container_user")
        command = [*shlex.split(self.get_option("stowage_command")), "exec", *(["--user", user] if user else [])]
        # Where a password is asked for, who looks for the question and answers it is the connection to the host.
        self._connection.set_become_plugin(self.become if sudoable else None)
        code, out, err = self._connection.exec_command(
            shlex.join([*command, "--", self._name(), *args]), in_data=in_data, sudoable=sudoable
        )
        return code, to_bytes(out), to_bytes(err)

    def _succeed(self, cmd: str, in_data: bytes = b"") -> bytes:
        code, out, err = self._run(["/bin/sh", "-c", cmd], in_data or None)
        if code != 0:
            why = to_text(err).strip() or f"exit code {code}"
            raise AnsibleConnectionFailure(f"container {self._name()}: {cmd}: {why}")
        return out
