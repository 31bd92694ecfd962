# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process is before it becomes the payload, as operations (runtime-spec, config.md, Process)."""

from __future__ import annotations

import os
import resource
import struct
import sys

from ...linux import inherited
from ...linux.libc import check, libc
from ...linux.namespaces import CLONE_NEWCGROUP, setdomainname, sethostname, unshare
from ...linux.procfs import write_proc
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

# asm-generic/resource.h; the same on every architecture of ours.
RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
_RLIM_INFINITY = (1 << 64) - 1
# A bit for each of 8192 CPUs, as many as any kernel is built for.
_ALL_CPUS = b"\xff" * 1024


class JoinCgroup(Operation):
    """Move this process, which has one thread, into a cgroup of each v1 hierarchy, then unshare its cgroup namespace.

    Writing 0 to ``tasks`` is a hundred times faster than a pid to ``cgroup.procs`` (0.14 ms for all against 9 to 23).
    On v2 the process was born in its cgroup. The namespace comes after either: its root is where we are then.
    """

    def __init__(self, task_files: Sequence[str], *, namespace: bool) -> None:
        self.task_files = task_files
        self.namespace = namespace

    def __str__(self) -> str:
        return "join the container's cgroup"

    def execute(self) -> None:
        for path in self.task_files:
            write_file(path, "0")
        if self.namespace:
            unshare(CLONE_NEWCGROUP)


class SealImports(Operation):
    """Import nothing from here on: what Python would look for, it would look for in the container's own files."""

    def __str__(self) -> str:
        return "let go of the modules' path"

    def execute(self) -> None:
        sys.meta_path.clear()
        sys.path.clear()


class FreeAffinity(Operation):
    """Run on all CPUs that the cgroup has, whatever whoever called us was bound to (as runc 1.3 and later do).

    Linux 6.2 keeps an affinity that was asked for, also where a process joins a cgroup.
    """

    def __str__(self) -> str:
        return "let go of the caller's CPU affinity"

    def execute(self) -> None:
        check(libc().sched_setaffinity(0, len(_ALL_CPUS), _ALL_CPUS))


class WriteFile(Operation):
    """One write to a file below /proc that stands for this process or its namespaces: to none that looks like it."""

    def __init__(self, told: str, path: str, content: str) -> None:
        self.told = told
        self.path = path
        self.content = content

    def __str__(self) -> str:
        return f"{self.told} to {self.content!r}"

    def execute(self) -> None:
        write_proc(self.path[len("/proc/") :], self.content)


class SetOomScore(Operation):
    """The score for the OOM killer (proc_pid_oom_score_adj(5)); children inherit it."""

    def __init__(self, score: int, *, user_namespace: bool, pid: int | str = "self") -> None:
        self.score = score
        self.user_namespace = user_namespace
        self.path = f"/proc/{pid}/oom_score_adj"

    def __str__(self) -> str:
        return f"set the score for the OOM killer to {self.score}"

    def execute(self) -> None:
        try:
            write_proc(self.path[len("/proc/") :], str(self.score))
        except PermissionError:
            # Lowering it takes CAP_SYS_RESOURCE in the first user namespace, which whoever asks an ordinary user for
            # it does not expect: podman always asks.
            if not self.user_namespace:
                raise


def write_file(path: str, *contents: str) -> None:
    """One open(2), and one write(2) for each. Raises OSError with ``path``."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for content in contents:
            os.write(fd, content.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(fd)


def plan_sysctl(name: str, value: str) -> Operation:
    """``net.ipv4.ip_forward``, or with slashes where a name has dots (sysctl(8)); only ours: see validate.py."""
    path = name if "/" in name.split(".", 1)[0] else name.replace(".", "/")
    return WriteFile(f"set sysctl {name}", f"/proc/sys/{path}", value)


class SetHostname(Operation):
    """The name of the UTS namespace, and its domain where one is given."""

    def __init__(self, hostname: str, domainname: str) -> None:
        self.hostname = hostname
        self.domainname = domainname

    def __str__(self) -> str:
        return f"set the host name {self.hostname!r}, domain {self.domainname!r}"

    def execute(self) -> None:
        if self.hostname:
            sethostname(self.hostname)
        if self.domainname:
            setdomainname(self.domainname)


class SetRlimit(Operation):
    """One resource limit (prlimit(2)). Open files are ``least`` as many for now, as far as that takes no privilege:
    poll(2) and dup2(2) heed that number too, and would keep an init from waiting for its start. A limit that leaves
    room for these is there once the container is created, as with runc; a smaller one comes with the start."""

    def __init__(self, name: str, soft: int, hard: int, *, least: int = 0) -> None:
        self.name = name
        self.soft = soft
        self.hard = hard
        self.least = least if name == "RLIMIT_NOFILE" else 0

    def __str__(self) -> str:
        return f"set {self.name} to {self.soft}, hard {self.hard}"

    def execute(self) -> None:
        # The kernel's own numbers of 64 bits, all ones for no limit, on every architecture.
        prlimit = getattr(libc(), "prlimit64", None) or libc().prlimit
        if self.hard < self.least:
            return
        try:
            soft = min(max(self.soft, self.least), self.hard)
            check(prlimit(0, RLIMITS[self.name], struct.pack("=QQ", soft, self.hard), None))
        except PermissionError as error:
            raise OSError(error.errno, f"{error.strerror}; raising a hard limit takes CAP_SYS_RESOURCE") from error


def limit_files(process: Mapping[str, Any]) -> Iterator[Operation]:
    """What ``least`` has put off."""
    for limit in process.get("rlimits") or ():
        if limit["type"] == "RLIMIT_NOFILE":
            yield SetRlimit(limit["type"], limit["soft"], limit["hard"])


class RaiseRlimit(Operation):
    """Raise a hard limit to what it shall be, for a later step that has no CAP_SYS_RESOURCE; leave a higher one."""

    def __init__(self, name: str, hard: int) -> None:
        self.name = name
        self.hard = hard

    def __str__(self) -> str:
        return f"raise {self.name} to {self.hard}"

    def execute(self) -> None:
        soft, hard = resource.getrlimit(RLIMITS[self.name])
        if hard not in (-1, _RLIM_INFINITY) and hard < self.hard:
            SetRlimit(self.name, soft, self.hard).execute()


class NewSession(Operation):
    """Lead a session, with keys of its own unless told otherwise, and let go of the caller's terminal."""

    def __init__(self, *, new_keyring: bool = True) -> None:
        self.new_keyring = new_keyring

    def __str__(self) -> str:
        return "start a session"

    def execute(self) -> None:
        os.setsid()
        if self.new_keyring:
            inherited.join_new_session_keyring()


class BecomeNamespaceRoot(Operation):
    """Be root in a new user namespace, so that what is made there belongs to the container's root."""

    def __str__(self) -> str:
        return "become root of the user namespace"

    def execute(self) -> None:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


class OwnNull(Operation):
    """The container's /dev/null in the place of the host's, where a standard stream is that: what belongs to another
    mount namespace cannot be checkpointed, and is nobody's business in there. Left as it is where there is none."""

    def __str__(self) -> str:
        return "open the container's /dev/null for the standard streams"

    def execute(self) -> None:
        null = os.makedev(1, 3)
        for fd in range(3):
            if os.fstat(fd).st_rdev != null:
                continue
            try:
                own = os.open("/dev/null", os.O_RDWR | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                return
            if os.fstat(own).st_rdev == null:  # by its number: an image may have put anything there
                os.set_blocking(own, True)
                os.dup2(own, fd)
            os.close(own)


class OwnStdio(Operation):
    """Let the container's user open /dev/stdout and its like, where those are pipes or files of ours."""

    def __init__(self, uid: int) -> None:
        self.uid = uid

    def __str__(self) -> str:
        return f"give the standard streams to user {self.uid}"

    def execute(self) -> None:
        null = os.makedev(1, 3)  # whatever the container has at /dev/null: the host's keeps its owner
        for fd in range(3):
            found = os.fstat(fd)
            if found.st_rdev == null or found.st_uid == self.uid:
                continue
            try:
                os.fchown(fd, self.uid, -1)
            except (PermissionError, OSError):
                # A stream on a read-only file system, or of a user that this namespace does not map: as runc, leave it.
                continue


class ChangeUser(Operation):
    """uid, gid and the additional gids, for good (credentials(7))."""

    def __init__(self, uid: int, gid: int, groups: Sequence[int], *, user_namespace: bool = False) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.user_namespace = user_namespace

    def __str__(self) -> str:
        return f"become user {self.uid}, group {self.gid}"

    def execute(self) -> None:
        try:
            os.setgroups(list(self.groups))
        except PermissionError:
            # Where an ordinary user made the namespace, with its own group alone, nobody changes groups in it
            # (user_namespaces(7), /proc/pid/setgroups): it keeps those that it has.
            if not self.user_namespace or not {self.gid}.issuperset(self.groups):
                raise
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)


class TryDirectory(Operation):
    """The working directory while we are root: the user of the process need not be able to enter it, as with runc.

    Before a filter is loaded, which may deny getcwd(2).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.done = False

    def __str__(self) -> str:
        return f"change to the directory {self.path}"

    def execute(self) -> None:
        try:
            os.chdir(self.path)
        except PermissionError:
            return  # root of a user namespace or of a network file system; perhaps the user may
        check_directory(self.path)
        self.done = True


def check_directory(path: str) -> None:
    """That the working directory, changed to ``path``, is inside the root (CVE-2024-21626). Raises OSError."""
    # getcwd(2): "(unreachable)" is said of a directory outside of the root, and ENOENT of one that is gone.
    if not os.getcwd().startswith("/"):
        raise OSError(2, "is outside of the container", path)


class ChangeDirectory(Operation):
    """The working directory, unless it is that already."""

    def __init__(self, tried: TryDirectory) -> None:
        self.path = tried.path
        self.tried = tried

    def __str__(self) -> str:
        return f"change to the directory {self.path}"

    def execute(self) -> None:
        if not self.tried.done:
            os.chdir(self.path)
            check_directory(self.path)


class SetUmask(Operation):
    """The mask of modes for new files."""

    def __init__(self, mask: int) -> None:
        self.mask = mask

    def __str__(self) -> str:
        return f"set the umask to {self.mask:04o}"

    def execute(self) -> None:
        os.umask(self.mask)


def find_program(args: Sequence[str], env: Mapping[str, str]) -> str:
    """The path of ``args[0]``, looked up in PATH as execvp(3) does. Raises OSError that says where it was sought."""
    name = args[0]
    if "/" in name:
        if os.path.isdir(name):
            raise OSError(13, "is a directory, not a program", name)
        if not os.path.exists(name):
            raise OSError(2, "no such file or directory", name)
        if not _is_executable(name):
            raise OSError(13, "permission denied", name)
        return name
    path = env.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    for directory in path.split(":"):
        candidate = os.path.join(directory or ".", name)
        if os.path.isfile(candidate) and _is_executable(candidate):
            return candidate
    raise OSError(2, "executable file not found in $PATH", name)


def _is_executable(path: str) -> bool:
    """With the capabilities that are in effect, such as CAP_DAC_OVERRIDE, as execve(2) sees it (faccessat(2))."""
    # A filter of a profile older than Linux 5.8 denies faccessat2(2), so without that too.
    return os.access(path, os.X_OK, effective_ids=True) or os.access(path, os.X_OK)
