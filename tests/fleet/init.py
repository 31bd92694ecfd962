# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first process of a namespace host: it builds the host around itself, starts sshd, and reaps.

Runs as `python3 -I -S init.py` and speaks lines over stdin and stdout with namespace.py: a JSON spec comes in, "made"
goes out, "linked" comes in once eth0 is there, "ready" goes out. An end of file instead of a line means that the
maker was killed: the process then exits and everything it holds goes with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from typing import Any

# <linux/sched.h>, <sys/mount.h>, <sys/prctl.h>
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE, MNT_DETACH = 2, 4, 8, 0x4000, 1 << 18, 2
PR_SET_PDEATHSIG = 1

DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "kmsg": (1, 11),
    "tty": (5, 0),
    "fuse": (10, 229),
    "net/tun": (10, 200),
    "loop-control": (10, 237),
}

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: Any) -> None:
    """One libc function that returns 0 or sets errno; strings go as bytes."""
    encoded = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    if getattr(libc, name)(*encoded):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", *[arg for arg in args if isinstance(arg, str)][1:2])


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    os.makedirs(target, exist_ok=True)
    call("mount", source, target, kind, ctypes.c_ulong(flags), options)


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def hear() -> str:
    line = sys.stdin.readline()
    if not line:
        raise SystemExit("the maker of this host was killed half-way")
    return line


def write(path: str, text: str, mode: int = 0o644) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)


def join_cgroups(paths: list[str]) -> None:
    for path in paths:
        # v1: a single thread moves itself through `tasks`, a hundred times faster than through `cgroup.procs`
        tasks = os.path.join(path, "tasks")
        write(tasks if os.path.exists(tasks) else os.path.join(path, "cgroup.procs"), "0")


def enter_leaf(path: str) -> None:
    """v2: processes live in a leaf, so that the host's own root cgroup can hand controllers down."""
    os.makedirs(os.path.join(path, "init"), exist_ok=True)
    join_cgroups([os.path.join(path, "init")])
    with open(os.path.join(path, "cgroup.controllers"), encoding="utf-8") as controllers:
        names = controllers.read().split()
    write(os.path.join(path, "cgroup.subtree_control"), " ".join(f"+{name}" for name in names))


def make_root(scratch: str) -> None:
    """The machine's root file system, with everything written kept in a tmpfs that only this host has."""
    call("mount", "", "/", "", ctypes.c_ulong(MS_REC | MS_PRIVATE), "")
    mount("stowage-fleet", scratch, "tmpfs", 0, "mode=0755")
    os.chdir(scratch)
    os.mkdir("upper", 0o755)
    os.mkdir("work")
    mount("overlay", "root", "overlay", 0, "lowerdir=/,upperdir=upper,workdir=work")
    os.chdir("root")
    mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    make_dev("dev")
    mount("tmpfs", "run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    mount("tmpfs", "var/lib/stowage", "tmpfs", 0, "mode=0755")  # an overlay's upper cannot lie on an overlay
    call("pivot_root", ".", ".")  # pivot_root(2), "pivot_root(".", ".")": the old root is now stacked on the new
    call("umount2", ".", MNT_DETACH)
    os.chdir("/")


def make_dev(dev: str) -> None:
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=0755")
    os.umask(0)
    for name, (major, minor) in DEVICES.items():
        os.makedirs(os.path.dirname(os.path.join(dev, name)), 0o755, exist_ok=True)
        os.mknod(os.path.join(dev, name), stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.umask(0o022)
    mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, target in {
        "ptmx": "pts/ptmx",
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
    }.items():
        os.symlink(target, f"{dev}/{name}")


def mount_cgroups(hierarchies: list[list[str]]) -> None:
    """The same hierarchies at the same places; in this cgroup namespace each shows the host's cgroup as its root."""
    top = "/sys/fs/cgroup"
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    if all(target != top for target, _rest, _rest in hierarchies):
        mount("tmpfs", top, "tmpfs", flags, "mode=0755")
    for target, kind, options in hierarchies:
        mount(kind, target, kind, flags, options)
        for name in options.split(",") if kind == "cgroup" and "," in os.path.basename(target) else []:
            os.symlink(os.path.basename(target), os.path.join(top, name))  # cpu -> cpu,cpuacct, as systemd has it


def unlock_root() -> None:
    """sshd without PAM refuses an account whose password field starts with `!`, key or no key."""
    with open("/etc/shadow", encoding="utf-8") as shadow:
        text = shadow.read()
    if text.startswith("root:!"):
        write("/etc/shadow", "root:*" + text[text.index(":", 5) :], 0o640)


def run_host(spec: dict[str, Any]) -> None:
    """PID 1 of the host."""
    call("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    socket.sethostname(spec["name"])
    make_root(spec["scratch"])
    mount_cgroups(spec["hierarchies"])
    for path, (mode, text) in spec["files"].items():
        write(path, text, mode)
    unlock_root()
    say("made")
    hear()
    subprocess.run(["ip", "-batch", "-"], input=spec["ip"], text=True, check=True)
    sshd = subprocess.Popen(spec["sshd"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid
    say("ready")
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    while os.wait()[0] != sshd:
        pass
    raise SystemExit("sshd ended, and the host with it")


def main() -> None:
    spec = json.loads(hear())
    join_cgroups(spec["cgroups"])
    if "sshd" not in spec:  # the switch: a network namespace and nothing else
        call("unshare", CLONE_NEWNET)
        say("made")
        while True:
            signal.pause()
    call("unshare", CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET)
    for path in spec["cgroups"]:
        if os.path.exists(os.path.join(path, "cgroup.subtree_control")):
            enter_leaf(path)
    child = os.fork()
    if child == 0:
        run_host(spec)
    for fd in (0, 1):
        os.close(fd)
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
