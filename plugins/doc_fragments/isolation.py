# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say what a container's processes may do, whose ids they have, and what of the host they see."""

from __future__ import annotations

import textwrap

OPTIONS = r"""
cap_add:
  description:
    - Capabilities on top of Docker's default set, with or without C(CAP_); V(ALL) for all.
  type: list
  elements: str
cap_drop:
  description:
    - Capabilities to take from the set; V(ALL) for all, before C(cap_add) is looked at.
  type: list
  elements: str
no_new_privileges:
  description:
    - Whether programs that are set-user-ID or have file capabilities are kept from giving more rights.
    - Unlike Docker's, this is on unless it is turned off.
  type: bool
  default: true
security_opts:
  description:
    - C(no-new-privileges[:true|false]), as the option C(no_new_privileges).
    - C(seccomp=unconfined), or C(seccomp=) and the path of a profile on the host, in Docker's form or OCI's. The
      container is made anew when what is in that file changes. Docker's default profile is used if this is not given.
    - C(apparmor=) and the name of a profile that is loaded, or C(unconfined). If this is not given, and AppArmor is on
      and C(apparmor_parser) installed, the engine's own profile is used, which has the effect of Docker's default.
    - C(label=disable), or C(label=) and V(user), V(role), V(type), V(level) or V(filetype) with a colon and a value,
      for SELinux.
    - C(systempaths=unconfined), or C(unmask=ALL), shows all of C(/proc) and C(/sys) and lets it be written to;
      C(unmask=) and paths with colons between them, those. C(mask=) and paths hides more.
  type: list
  elements: str
privileged:
  description:
    - Gives all capabilities and devices, no system call filter, and nothing masked. Only for what you trust as root.
  type: bool
  default: false
read_only:
  description:
    - Whether the container's root file system is read-only.
  type: bool
  default: false
userns:
  description:
    - Whose ids the container has. With V(keep) its root is the host's root, less what it may not do.
    - V(auto) gives the container 65536 ids of the host that are nobody else's, so that its root is an ordinary user
      there. They are chosen by its name, from what C(/etc/subuid) and C(/etc/subgid) give to C(stowage), or from
      1879048192 on where they give it nothing; the container keeps them as long as it is there.
    - V(map) gives it the ids in C(uidmap) and C(gidmap).
    - What the container writes to its own root is owned by those ids on the host, too. The image's files, which it
      shares with others, and its volumes are mounted with its ids; see C(volumes).
    - Needs Linux 5.19.
  type: str
  choices: [keep, auto, map]
  default: keep
uidmap:
  description:
    - With C(userns=map), users as C(container:host:how many), such as V(0:200000:65536). The container's root must
      have an id.
  type: list
  elements: str
gidmap:
  description:
    - The same for groups; as C(uidmap) if not given.
  type: list
  elements: str
pid_mode:
  description:
    - Which processes the container sees. With V(private) its own only, with V(host) all of the host's, with
      V(container:NAME) those of another container of this host, whose first process is its first, too.
    - The other container must run, or be started by the same task, which starts it first. When it has another process,
      because it was made anew or started again, containers that have joined it are restarted by their task, also in
      check mode; where it ends, all processes in its namespace end with it.
    - A container that others run in is neither stopped nor removed, unless the same task does that to them.
  type: str
  default: private
ipc_mode:
  description:
    - Whose IPC objects and C(/dev/shm) the container has. With V(private) its own, with V(host) the host's, with
      V(container:NAME) those of another container, to which applies what C(pid_mode) says of it.
  type: str
  default: private
network_mode:
  description:
    - Whose network the container has. With V(private) its own, which is on the C(networks), with V(container:NAME) that
      of another container, to which applies what C(pid_mode) says of it. It has the other's addresses, ports, names and
      C(/etc/hosts) then, so it can have no C(networks), C(published_ports) and C(etc_hosts).
  type: str
  default: private
uts:
  description:
    - Whether the container has a host name of its own, or with V(host) the host's.
  type: str
  choices: [private, host]
  default: private
devices:
  description:
    - Devices of the host, as C(/on/host[:/in/container][:rwm]). A directory stands for all devices in it.
    - The last part is what may be done - read, write, make a node (mknod).
  type: list
  elements: str
device_cgroup_rules:
  description:
    - Further devices that may be used once there is a node of them, as C(type major:minor access), such as
      V(c 42:* rwm).
  type: list
  elements: str
shm_size:
  description:
    - The size of C(/dev/shm), such as V(128M); 64 MiB if not given.
  type: str
ulimits:
  description:
    - Limits of each process, as C(name:soft[:hard]), such as V(nofile:1024:4096); V(-1) or V(unlimited) for none.
  type: list
  elements: str
sysctls:
  description:
    - Settings of the kernel that belong to one of the container's namespaces, such as C(net.core.somaxconn).
  type: dict
oom_score_adj:
  description:
    - How ready the kernel is to end the container's processes when memory runs out, from -1000 (never) to 1000.
  type: int
  default: 0
init:
  description:
    - Whether a small init is the container's first process, which passes signals on to the command and reaps processes
      that nobody waits for.
    - It is Stowage's own on x86_64 and aarch64; elsewhere the host's C(docker-init), C(tini), C(catatonit) or
      C(dumb-init), which must be installed.
  type: bool
  default: false
"""


class ModuleDocFragment:
    DOCUMENTATION: str = "options:\n" + textwrap.indent(OPTIONS, "  ")
