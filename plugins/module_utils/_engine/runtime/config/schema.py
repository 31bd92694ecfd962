# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The type and range of every property that runtime-spec 1.3 has for Linux: config.md and config-linux.md, as a table.

Where the specification leaves a range open it is the kernel's. What takes more than one value to judge is in
validate.py and beside the operations that it is for.
"""

from __future__ import annotations

from ...linux.namespaces import NAMESPACES
from ...linux.seccomp_profile import ACTIONS, FLAGS, OPERATORS
from ..steps.mount_options import PROPAGATION
from ..steps.process import RLIMITS
from .kinds import Flag, List, Map, Number, Object, Text, Texts, Word

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
SCHEDULER_POLICIES = "SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_ISO SCHED_IDLE SCHED_DEADLINE"
SCHEDULER_FLAGS = (
    "SCHED_FLAG_RESET_ON_FORK SCHED_FLAG_RECLAIM SCHED_FLAG_DL_OVERRUN SCHED_FLAG_KEEP_POLICY SCHED_FLAG_KEEP_PARAMS "
    "SCHED_FLAG_UTIL_CLAMP_MIN SCHED_FLAG_UTIL_CLAMP_MAX"
)
MEMORY_POLICIES = (
    "MPOL_DEFAULT MPOL_BIND MPOL_INTERLEAVE MPOL_WEIGHTED_INTERLEAVE MPOL_PREFERRED MPOL_PREFERRED_MANY MPOL_LOCAL"
)
MEMORY_POLICY_FLAGS = "MPOL_F_NUMA_BALANCING MPOL_F_RELATIVE_NODES MPOL_F_STATIC_NODES"
# libseccomp 2.6.0; those that have no table of ours cannot run here and need none.
SECCOMP_ARCHITECTURES = (
    "SCMP_ARCH_X86 SCMP_ARCH_X86_64 SCMP_ARCH_X32 SCMP_ARCH_ARM SCMP_ARCH_AARCH64 SCMP_ARCH_MIPS SCMP_ARCH_MIPS64 "
    "SCMP_ARCH_MIPS64N32 SCMP_ARCH_MIPSEL SCMP_ARCH_MIPSEL64 SCMP_ARCH_MIPSEL64N32 SCMP_ARCH_PPC SCMP_ARCH_PPC64 "
    "SCMP_ARCH_PPC64LE SCMP_ARCH_S390 SCMP_ARCH_S390X SCMP_ARCH_PARISC SCMP_ARCH_PARISC64 SCMP_ARCH_RISCV64 "
    "SCMP_ARCH_LOONGARCH64 SCMP_ARCH_M68K SCMP_ARCH_SH SCMP_ARCH_SHEB"
)

_FLAG = Flag()
_INT32, _INT64 = Number(-(1 << 31), (1 << 31) - 1), Number(-(1 << 63), (1 << 63) - 1)
_UINT16, _UINT32, _UINT64 = Number(0, (1 << 16) - 1), Number(0, (1 << 32) - 1), Number(0, (1 << 64) - 1)
_ID = Number(0, (1 << 32) - 2)  # the greatest is "no id" to the kernel (setresuid(2))
_BYTES = Number(-1, (1 << 63) - 1)  # -1: unlimited
_TEXT = Text()
_TEXTS = Texts(_TEXT)
_PATH = Text("an absolute path", lambda text: text.startswith("/"))
_PATHS = Texts(_PATH)
_NAME64 = Text("at most 64 bytes", lambda text: len(text.encode()) <= 64)  # uname(2)
_LINE = Text("one line", lambda text: "\n" not in text)


def _is_list_of_numbers(text: str) -> bool:
    """cpuset(7), List format, as far as a look tells; blanks are the schema's own."""
    parts = [part.split("-") for part in text.replace(" ", "").rstrip("\n").split(",") if part]
    numbers = [end for ends in parts for end in ends]
    if not all(end.isdigit() and end.isascii() and len(end) < 7 for end in numbers):
        return False
    return all(len(ends) < 3 and int(ends[0]) <= int(ends[-1]) for ends in parts)


_NUMBERS = Text("numbers and ranges such as 0-3,7", _is_list_of_numbers)

# Go's programs leave an empty path in where a namespace is new.
_PATH_OR_NONE = Text("an absolute path or nothing", lambda text: text[:1] in ("", "/"))
_MAPPINGS = List(
    Object({"containerID": _ID, "hostID": _ID, "size": Number(1, (1 << 32) - 1)}, "containerID", "hostID", "size")
)
_HOOK = List(Object({"path": _PATH, "args": _TEXTS, "env": _TEXTS, "timeout": Number(1, (1 << 63) - 1)}, "path"))

PROCESS = Object(
    {
        "terminal": _FLAG,
        "consoleSize": Object({"height": _UINT64, "width": _UINT64}, "height", "width"),
        "cwd": _PATH,
        "env": Texts(Text("NAME=value", lambda text: text.find("=") > 0, errors="surrogateescape")),
        "args": Texts(Text(errors="surrogateescape")),
        "user": Object(
            # Go's programs write no gid that is 0, though the specification requires it.
            {"uid": _ID, "gid": _ID, "umask": Number(0, 0o777), "additionalGids": List(_ID)}, "uid"
        ),
        "rlimits": List(
            Object({"type": Word(RLIMITS), "soft": _UINT64, "hard": _UINT64}, "type", "soft", "hard")
        ),
        "capabilities": Object(
            # A name that the kernel does not know is a warning (config.md, Linux Process): find_ungrantable().
            dict.fromkeys(("bounding", "permitted", "effective", "inheritable", "ambient"), _TEXTS)
        ),
        "noNewPrivileges": _FLAG,
        "oomScoreAdj": Number(-1000, 1000),
        "apparmorProfile": _LINE,
        "selinuxLabel": _LINE,
        "scheduler": Object(
            {
                "policy": Word(SCHEDULER_POLICIES),
                "nice": _INT32,
                "priority": _INT32,
                "flags": List(Word(SCHEDULER_FLAGS)),
                "runtime": _UINT64,
                "deadline": _UINT64,
                "period": _UINT64,
            },
            "policy",
        ),
        "ioPriority": Object(
            {"class": Word("IOPRIO_CLASS_RT IOPRIO_CLASS_BE IOPRIO_CLASS_IDLE"), "priority": Number(0, 7)}, "class"
        ),
        "execCPUAffinity": Object({"initial": _NUMBERS, "final": _NUMBERS}),
    },
    "cwd",
    "args",
)  # fmt: skip

_DEVICE_NUMBERS = {"major": _INT64, "minor": _INT64}
_WEIGHTS = List(Object({**_DEVICE_NUMBERS, "weight": _UINT16, "leafWeight": _UINT16}, "major", "minor"))
_RATES = List(Object({**_DEVICE_NUMBERS, "rate": _UINT64}, "major", "minor", "rate"))
_FILE_NAME = Text("the name of a file, without a slash", lambda text: "/" not in text and text not in ("", ".", ".."))


def _is_page_size(text: str) -> bool:
    return (
        len(text) > 2
        and text[-2:] in ("KB", "MB", "GB")
        and text[0] != "0"
        and text[:-2].isascii()
        and text[:-2].isdigit()
    )


RESOURCES = Object(
    {
        "devices": List(
            Object(
                {
                    "allow": _FLAG,
                    "type": Word(("", "a", "b", "c", "u")),
                    **_DEVICE_NUMBERS,
                    "access": Text("some of the letters rwm", lambda text: set(text) <= set("rwma")),
                },
                "allow",
            )
        ),
        "memory": Object(
            {
                **dict.fromkeys(("limit", "reservation", "swap", "kernel", "kernelTCP"), _BYTES),
                "swappiness": Number(0, 100),
                **dict.fromkeys(("disableOOMKiller", "useHierarchy", "checkBeforeUpdate"), _FLAG),
            }
        ),
        "cpu": Object(
            {
                **dict.fromkeys(("shares", "burst", "period", "realtimePeriod"), _UINT64),
                **dict.fromkeys(("quota", "realtimeRuntime"), _INT64),
                "cpus": _NUMBERS,
                "mems": _NUMBERS,
                "idle": Number(0, 1),
            }
        ),
        "pids": Object({"limit": _BYTES}),
        "blockIO": Object(
            {
                "weight": _UINT16,
                "leafWeight": _UINT16,
                "weightDevice": _WEIGHTS,
                **{f"throttle{what}Device": _RATES for what in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")},
            }
        ),
        "hugepageLimits": List(
            Object({"pageSize": Text("a size such as 2MB", _is_page_size), "limit": _UINT64}, "pageSize", "limit")
        ),
        "network": Object(
            {
                "classID": _UINT32,
                "priorities": List(Object({"name": _TEXT, "priority": _UINT32}, "name", "priority")),
            }
        ),
        "rdma": Map(_TEXT, Object({"hcaHandles": _UINT32, "hcaObjects": _UINT32})),
        "unified": Map(_FILE_NAME, _TEXT),
    }
)  # fmt: skip

SECCOMP = Object(
    {
        "defaultAction": Word(ACTIONS),
        "defaultErrnoRet": _UINT32,
        "architectures": List(Word(SECCOMP_ARCHITECTURES)),
        "flags": List(Word(FLAGS)),
        "listenerPath": _TEXT,
        "listenerMetadata": _TEXT,
        "syscalls": List(
            Object(
                {
                    "names": _TEXTS,
                    "action": Word(ACTIONS),
                    "errnoRet": _UINT32,
                    "args": List(
                        Object(
                            {"index": Number(0, 5), "value": _UINT64, "valueTwo": _UINT64, "op": Word(OPERATORS)},
                            "index",
                            "value",
                            "op",
                        )
                    ),
                },
                "names",
                "action",
            )
        ),
    },
    "defaultAction",
)  # fmt: skip

_OFFSET = Object({"secs": _INT64, "nanosecs": Number(0, 999_999_999)})  # time_namespaces(7)

LINUX = Object(
    {
        "namespaces": List(Object({"type": Word(NAMESPACES), "path": _PATH_OR_NONE}, "type")),
        "uidMappings": _MAPPINGS,
        "gidMappings": _MAPPINGS,
        "timeOffsets": Map(Word("monotonic boottime"), _OFFSET),
        "devices": List(
            Object(
                {
                    "path": _PATH,
                    "type": Word("c b u p"),
                    **_DEVICE_NUMBERS,
                    "fileMode": Number(0, 0o177777),
                    "uid": _ID,
                    "gid": _ID,
                },
                "path",
                "type",
            )
        ),
        "netDevices": Map(_TEXT, Object({"name": _TEXT})),
        "cgroupsPath": Text("a path without ..", lambda text: ".." not in text.split("/")),
        "resources": RESOURCES,
        "intelRdt": Object(
            {
                "closID": _LINE,
                "l3CacheSchema": _LINE,
                "memBwSchema": Text("one line MB:...", lambda text: text.startswith("MB:") and "\n" not in text),
                "schemata": Texts(_LINE),
                "enableMonitoring": _FLAG,
            }
        ),
        "memoryPolicy": Object(
            {"mode": Word(MEMORY_POLICIES), "nodes": _NUMBERS, "flags": List(Word(MEMORY_POLICY_FLAGS))}, "mode"
        ),
        "sysctl": Map(_TEXT, _TEXT),
        "seccomp": SECCOMP,
        "rootfsPropagation": Word(("", *PROPAGATION)),
        "maskedPaths": _PATHS,
        "readonlyPaths": _PATHS,
        "mountLabel": _LINE,
        "personality": Object({"domain": Word("LINUX LINUX32"), "flags": _TEXTS}, "domain"),
    }
)  # fmt: skip

CONFIG = Object(
    {
        "ociVersion": Text("a version 1.x", lambda text: text.startswith("1.")),
        "root": Object({"path": Text("the path of a directory", bool), "readonly": _FLAG}, "path"),
        "mounts": List(
            Object(
                {
                    "destination": Text("a path in the container", bool),
                    "type": _TEXT,
                    "source": _TEXT,
                    "options": _TEXTS,
                    "uidMappings": _MAPPINGS,
                    "gidMappings": _MAPPINGS,
                },
                "destination",
            )
        ),
        "process": PROCESS,
        "hostname": _NAME64,
        "domainname": _NAME64,
        "hooks": Object(dict.fromkeys(HOOKS, _HOOK)),
        "annotations": Map(Text("a name", bool), _TEXT),
        "linux": LINUX,
    },
    "ociVersion",
    "root",
)
