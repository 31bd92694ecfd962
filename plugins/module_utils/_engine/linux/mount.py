# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts: mount(2), umount2(2), pivot_root(2), and what is mounted according to proc_pid_mountinfo(5)."""

from __future__ import annotations

import os

from .libc import check, libc, syscall

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

# asm/unistd.h; pivot_root has no wrapper in the C library.
_PIVOT_ROOT = {"x86_64": 155, "i686": 217, "aarch64": 41, "riscv64": 41, "armv7l": 218, "ppc64le": 203, "s390x": 217}


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError with ``target``."""
    pointers = (source.encode(), os.fsencode(target), fstype.encode() or None)
    check(libc().mount(*pointers, flags, data.encode() or None), target)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError with ``target``."""
    check(libc().umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2). ``pivot_root(".", ".")`` stacks the old root under the new one (its man page, NOTES)."""
    number = _PIVOT_ROOT[os.uname().machine]
    syscall(number, os.fsencode(new_root), os.fsencode(put_old), path=new_root)


# mount(2) takes one page of options, and cuts what is longer without a word.
MAX_DATA = os.sysconf("SC_PAGE_SIZE") - 1


def mount_overlay(
    target: str, *, lower: list[str], upper: str = "", work: str = "", userxattr: bool = False, whole: bool = False
) -> None:
    """Mount an overlay on ``target``: ``lower`` from the topmost layer to the lowest, read-only without ``upper``.

    Colons, commas and backslashes in paths are escaped as Documentation/filesystems/overlayfs.rst says. Where the
    options are too long for mount(2), the layers are named by descriptors, from /proc/self/fd as the working directory:
    there is room for the 500 that an overlay may have (OVL_MAX_STACK).
    ``userxattr`` (Linux 5.11) keeps what overlayfs notes of a file in user.overlay.*: root of a user namespace may not
    write trusted.overlay.*, and could not have a directory that hides one below.
    ``whole``: everything that is changed is in ``upper`` with all of its content, also where this kernel would note
    that a directory was renamed, or that metadata alone changed (overlayfs.rst: redirect_dir, metacopy).
    """
    ends = ["upperdir=" + _escape(upper, ",\\"), "workdir=" + _escape(work, ",\\")] if upper else []
    ends += ["userxattr"] if userxattr else []
    ends += [f"{name}=off" for name in ("redirect_dir", "metacopy") if whole and _overlay_does(name)]
    options = ",".join(["lowerdir=" + ":".join(_escape(path, ":,\\") for path in lower), *ends])
    if len(os.fsencode(options)) <= MAX_DATA:
        mount("overlay", target, "overlay", 0, options)
        return
    opened: list[int] = []
    directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in lower:
            opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        opened.append(os.open(target, os.O_PATH | os.O_CLOEXEC))
        os.chdir("/proc/self/fd")
        names = [str(fd) for fd in opened]
        mount("overlay", names.pop(), "overlay", 0, ",".join(["lowerdir=" + ":".join(names), *ends]))
    finally:
        os.fchdir(directory)
        for fd in (directory, *opened):
            os.close(fd)


def _overlay_does(feature: str) -> bool:
    """Whether overlays have a feature unless they are told otherwise."""
    try:
        with open(f"/sys/module/overlay/parameters/{feature}", encoding="ascii") as file:
            return file.read(1) == "Y"
    except OSError:  # an older kernel, without the feature
        return False


def _escape(path: str, special: str) -> str:
    return "".join("\\" + character if character in special else character for character in path)


def observe_mounts(pid: int | str = "self") -> dict[str, str]:
    """Mount point to file system type, as the process ``pid`` sees them (proc_pid_mountinfo(5))."""
    mounts = {}
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split(" ")
            mounts[_unescape(fields[4])] = fields[fields.index("-") + 1]
    return mounts


def observe_whole_mounts(*fstypes: str) -> list[str]:
    """The mount points of all of a file system of one of these types, not of a part of it, the first mounted first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split(" ")
            if fields[3] == "/" and fields[fields.index("-") + 1] in fstypes:
                found.append(_unescape(fields[4]))
    return found


def _unescape(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
