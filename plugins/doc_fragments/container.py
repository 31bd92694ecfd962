# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of one container, which modules container and containers share."""

from __future__ import annotations

import textwrap

from ansible_collections.stowage.engine.plugins.doc_fragments import isolation, limits

OPTIONS = (
    r"""
name:
  description:
    - The container's name on its host, 1 to 63 letters, digits, V(_), V(.) or V(-).
  type: str
  required: true
state:
  description:
    - V(started) has the container and it runs; V(stopped) has it and it does not run; V(present) has it, running or
      not.
    - V(absent) stops and removes it with its writable layer.
  type: str
  choices: [started, present, stopped, absent]
  default: started
image:
  description:
    - The image, which must be on the host (see M(stowage.engine.image)). Required unless C(state=absent).
  type: str
command:
  description:
    - The command, a list or a string that is split as a shell would. The image's own is used if this is not given.
  type: raw
entrypoint:
  description:
    - Goes before the command, a list or a string. The image's own is used if this is not given.
    - An entrypoint drops the image's command, as Docker does. An empty one is none.
  type: raw
env:
  description:
    - Environment variables, on top of the image's. Quote numbers where their spelling matters.
    - Results and diffs name them and never show their values. Ansible itself logs a task's options, unless the task
      has C(no_log).
  type: dict
working_dir:
  description:
    - The directory in which the command starts.
  type: str
user:
  description:
    - The user, as C(name), C(uid), C(name:group) or C(uid:gid), looked up in the image.
  type: str
groups:
  description:
    - Further groups of the user, by number or by their name in the image.
  type: list
  elements: str
hostname:
  description:
    - The host name inside; the container's name if not given.
  type: str
networks:
  description:
    - The networks to join, in order. The first gives the default route.
    - A container without networks has only a loopback device.
  type: list
  elements: dict
  suboptions:
    name:
      description: The network, which must be on the host (see M(stowage.engine.network)).
      type: str
      required: true
    ipv4_address:
      description: A fixed address. One is chosen by the container's name, and kept, if this is not given.
      type: str
    aliases:
      description: Further names for the container on this network.
      type: list
      elements: str
published_ports:
  description:
    - Ports of the host that lead to the container, as C([host_ip:]host_port:container_port[/protocol]).
    - They can be changed while the container runs.
  type: list
  elements: str
volumes:
  description:
    - Files and directories of the host that the container sees, as C(/on/host:/in/container) with C(:ro) for read-only.
    - What the mount that they are on forbids on the host (C(nosuid), C(noexec), C(ro)) is forbidden in the container
      too, and so is opening device nodes in them.
    - With C(userns) a file has the same owner inside as on the host, as far as the container has that id. C(:noidmap)
      leaves that out, for file systems that cannot (such as NFS, or tmpfs before Linux 6.3); then files of the host's
      users belong to nobody inside. Both go together as C(:ro,noidmap).
  type: list
  elements: str
tmpfs:
  description:
    - Paths in the container that are file systems in memory.
  type: list
  elements: str
cgroup_parent:
  description:
    - The cgroup that the container is in, which must be on the host (see M(stowage.engine.cgroup)).
  type: str
labels:
  description:
    - Labels to find the container by.
  type: dict
etc_hosts:
  description:
    - Further names in the container's C(/etc/hosts), as name to address.
  type: dict
runtime:
  description:
    - Another OCI runtime to run the container with, by name or path, such as V(runc) or V(crun). Stowage's own if not
      given.
  type: str
stop_signal:
  description:
    - The signal that asks the container to end; the image's own or V(SIGTERM) if not given.
  type: str
stop_timeout:
  description:
    - Seconds to wait before a container that was asked to end is killed.
  type: int
  default: 10
restart:
  description:
    - An order to stop and start the container even if nothing differs.
  type: bool
  default: false
recreate:
  description:
    - An order to make the container anew even if nothing differs.
  type: bool
  default: false
"""
    + isolation.OPTIONS
    + limits.OPTIONS
)


class ModuleDocFragment:
    DOCUMENTATION: str = "options:\n" + textwrap.indent(OPTIONS, "  ")

    LIST: str = r"""
options:
  containers:
    description:
      - The containers, each with the options of M(stowage.engine.container).
    type: list
    elements: dict
    required: true
    suboptions:
""" + textwrap.indent(OPTIONS, "      ")
