# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running container may do and see, by the kernel's word of this moment: what was asked for has no part in it.

Source: proc(5), the pages of status, uid_map, limits, mountinfo and attr; namespaces(7).
"""

from __future__ import annotations

import os
import stat

from ..linux.capabilities import capability_names, observe_capabilities
from ..linux.namespaces import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SECCOMP = {"0": "none", "1": "strict", "2": "filter"}


def observe_effective(pid: int) -> dict[str, Any]:
    """Of the process ``pid``, a container's first, as plain values. Raises OSError where it has ended."""
    status = _fields(f"/proc/{pid}/status", ":")
    masks = observe_capabilities(pid)
    return {
        "user": {
            "uid": int(status["Uid"].split()[1]),
            "gid": int(status["Gid"].split()[1]),
            "groups": [int(group) for group in status["Groups"].split()],
        },
        "uid_map": _id_map(f"/proc/{pid}/uid_map"),
        "gid_map": _id_map(f"/proc/{pid}/gid_map"),
        "capabilities": {name: list(capability_names(mask)) for name, mask in masks.items()},
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "seccomp": _SECCOMP.get(status["Seccomp"], status["Seccomp"]),
        "seccomp_filters": int(status.get("Seccomp_filters", "0")),
        "label": _label(pid),
        "oom_score_adj": int(_read(f"/proc/{pid}/oom_score_adj")),
        "limits": _limits(pid),
        "namespaces": _namespaces(pid),
        "cgroups": [line.split(":", 2)[1:] for line in _read(f"/proc/{pid}/cgroup").splitlines()],
        "interfaces": [line.split(":")[0].strip() for line in _read(f"/proc/{pid}/net/dev").splitlines()[2:]],
        "mounts": list(_mounts(pid)),
        "devices": list(_devices(pid)),
    }


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _fields(path: str, separator: str) -> dict[str, str]:
    pairs = (line.partition(separator)[::2] for line in _read(path).splitlines())
    return {name: value.strip() for name, value in pairs}


def _id_map(path: str) -> list[list[int]]:
    """(in the container, on the host, how many) of each range."""
    return [[int(number) for number in line.split()] for line in _read(path).splitlines()]


def _label(pid: int) -> str:
    """AppArmor's profile or SELinux's label; empty where the kernel has neither (EINVAL)."""
    try:
        return _read(f"/proc/{pid}/attr/current").strip("\0\n")
    except OSError:
        return ""


def _limits(pid: int) -> dict[str, list[str]]:
    """Soft and hard limit by the names that ulimits have; its columns are 26 and 21 characters wide."""
    lines = _read(f"/proc/{pid}/limits").splitlines()[1:]
    return {_LIMITS[line[:26].strip()]: line[26:68].split() for line in lines if line[:26].strip() in _LIMITS}


_LIMITS = {
    "Max cpu time": "cpu",
    "Max file size": "fsize",
    "Max data size": "data",
    "Max stack size": "stack",
    "Max core file size": "core",
    "Max resident set": "rss",
    "Max processes": "nproc",
    "Max open files": "nofile",
    "Max locked memory": "memlock",
    "Max address space": "as",
    "Max file locks": "locks",
    "Max pending signals": "sigpending",
    "Max msgqueue size": "msgqueue",
    "Max nice priority": "nice",
    "Max realtime priority": "rtprio",
    "Max realtime timeout": "rttime",
}


def _namespaces(pid: int) -> dict[str, str]:
    """``host`` or the namespace's own number, by runtime-spec's names."""
    found = {}
    for name, (_flag, file) in NAMESPACES.items():
        try:
            own, ours = (os.readlink(f"/proc/{one}/ns/{file}") for one in (pid, "self"))
        except FileNotFoundError:
            continue
        found[name] = "host" if own == ours else own.partition("[")[2].rstrip("]")
    return found


def _mounts(pid: int) -> list[dict[str, Any]]:
    found = []
    for line in _read(f"/proc/{pid}/mountinfo").splitlines():
        left, _dash, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        found.append(
            {
                "target": _unescape(fields[4]),
                "type": kind[0],
                "source": _unescape(kind[1]),
                "root": _unescape(fields[3]),
                "options": fields[5].split(","),
            }
        )
    return found


def _unescape(text: str) -> str:
    for code in ("040", "011", "012", "134"):
        text = text.replace("\\" + code, chr(int(code, 8)))
    return text


def _devices(pid: int) -> list[dict[str, Any]]:
    """The nodes in its /dev, wherever they come from; links are not followed out of it."""
    found = []
    root = f"/proc/{pid}/root"
    for directory, folders, names in os.walk(f"{root}/dev"):
        if directory == f"{root}/dev":
            folders[:] = [name for name in folders if name not in ("pts", "shm", "mqueue")]
        for name in sorted(names):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(status.st_mode))
            if kind:
                number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
                found.append({"path": path[len(root) :], "type": kind, "number": number})
    return found
