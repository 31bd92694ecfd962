# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A config.json that can be meant, or one line that names the JSON path, the value and what is expected there.

Properties that the specification does not have are ignored, as it demands; those that it has and this runtime does not
do are refused, so that nothing is silently weaker than asked. Nothing is created here. Source: runtime-spec 1.3.
"""

from __future__ import annotations

import os

from ..errors import InvalidOption, NotFound, RuntimeFailed, Unsupported
from ..linux.lean import loads
from ..linux.namespaces import NAMESPACES
from .mount_options import PROPAGATION, parse_mount_options
from .process import RLIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_U32 = 0xFFFFFFFF


class _Number:
    """An integer within bounds."""

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high


class _Word:
    """A string that ``fits``; ``expected`` says what that is."""

    def __init__(self, expected: str, fits: Callable[[str], bool]) -> None:
        self.expected = expected
        self.fits = fits


def _one_of(*words: str) -> _Word:
    return _Word("one of " + ", ".join(words), lambda text: text in words)


_TEXT = _Word("a string without NUL", lambda text: "\0" not in text)
_PATH = _Word("an absolute path", lambda text: text.startswith("/") and "\0" not in text)
_ID = _Number(0, _U32 - 1)
_INT64 = _Number(-(1 << 63), (1 << 63) - 1)
_UINT64 = _Number(0, (1 << 64) - 1)
_MAPPING = {"containerID!": _ID, "hostID!": _ID, "size!": _Number(1, _U32)}
_CAPABILITIES = [_Word("a name such as CAP_CHOWN", lambda text: text.startswith("CAP_") and text.isupper())]
_HOOK = {"path!": _PATH, "args": [_TEXT], "env": [_TEXT], "timeout": _Number(1, _U32)}

# A name ends in "!" where it is required. A list holds the type of its items, {"*": t} is a map of t.
SCHEMA: dict[str, Any] = {
    "ociVersion!": _Word("a version 1.x", lambda text: text.startswith("1.")),
    "root!": {"path!": _TEXT, "readonly": bool},
    "hostname": _Word("at most 64 bytes", lambda text: len(text.encode()) <= 64),
    "domainname": _Word("at most 64 bytes", lambda text: len(text.encode()) <= 64),
    "mounts": [{"destination!": _TEXT, "type": _TEXT, "source": _TEXT, "options": [_TEXT]}],
    "annotations": {"*": str},
    "hooks": {
        stage: [_HOOK]
        for stage in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    },
    "process": {
        "terminal": bool,
        "consoleSize": {"height!": _Number(0, 65535), "width!": _Number(0, 65535)},
        "cwd!": _PATH,
        "env": [_Word("NAME=value", lambda text: "\0" not in text and text.find("=") > 0)],
        "args!": [_TEXT],
        "user": {"uid!": _ID, "gid!": _ID, "umask": _Number(0, 0o777), "additionalGids": [_ID]},
        "rlimits": [{"type!": _one_of(*RLIMITS), "soft!": _UINT64, "hard!": _UINT64}],
        "capabilities": dict.fromkeys(("bounding", "permitted", "effective", "inheritable", "ambient"), _CAPABILITIES),
        "noNewPrivileges": bool,
        "oomScoreAdj": _Number(-1000, 1000),
    },
    "linux": {
        "namespaces": [{"type!": _one_of(*NAMESPACES), "path": _PATH}],
        "uidMappings": [_MAPPING],
        "gidMappings": [_MAPPING],
        "devices": [
            {
                "path!": _PATH,
                "type!": _one_of("c", "b", "u", "p"),
                "major": _Number(-1, 0xFFF),
                "minor": _Number(-1, 0xFFFFF),
                "fileMode": _Number(0, 0o177777),
                "uid": _ID,
                "gid": _ID,
            }
        ],
        "cgroupsPath": _TEXT,
        "sysctl": {"*": _TEXT},
        "maskedPaths": [_PATH],
        "readonlyPaths": [_PATH],
        "rootfsPropagation": _one_of("", *PROPAGATION),
        "resources": {
            "memory": {"limit": _INT64, "reservation": _INT64, "swap": _INT64, "swappiness": _Number(0, 200)},
            "cpu": {"shares": _UINT64, "quota": _INT64, "period": _UINT64, "cpus": _TEXT, "mems": _TEXT},
            "pids": {"limit": _INT64},
            "devices": [
                {
                    "allow!": bool,
                    "type": _one_of("", "a", "b", "c", "u"),
                    "major": _INT64,
                    "minor": _INT64,
                    "access": _Word("some of the letters rwm", lambda text: set(text) <= set("rwm")),
                }
            ],
        },
        "seccomp": {"defaultAction!": str},
    },
}  # fmt: skip

# Parts of the specification that would be silently weaker if they were ignored.
_NOT_YET = (
    "process.apparmorProfile",
    "process.selinuxLabel",
    "process.scheduler",
    "process.ioPriority",
    "process.execCPUAffinity",
    "linux.timeOffsets",
    "linux.intelRdt",
    "linux.personality",
    "linux.mountLabel",
    "linux.memoryPolicy",
    "linux.netDevices",
    "linux.seccomp.listenerPath",
)

_IPC_SYSCTLS = (
    *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax"),
    *("kernel.shmmni", "kernel.shm_rmid_forced"),
)


def read_config(bundle: str) -> dict[str, Any]:
    """The configuration of a bundle, valid. Raises NotFound, RuntimeFailed, InvalidOption, Unsupported."""
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            spec = loads(file.read())
    except FileNotFoundError as error:
        raise NotFound("bundle", bundle, "it has no config.json; `stowage-runtime spec` writes one") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RuntimeFailed(f"{path}: cannot be read as JSON: {error}") from error
    validate_config(spec)
    return dict(spec)


def validate_config(spec: Any) -> None:
    """Raise InvalidOption or Unsupported at the first thing that cannot be meant or done."""
    _check("config.json", spec, SCHEMA)
    for path in _NOT_YET:
        value = spec
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value:
            raise Unsupported(f"{path}: this runtime does not do that yet; leave it out")
    _check_process(spec)
    _check_namespaces(spec)
    for index, entry in enumerate(spec.get("mounts") or ()):
        parse_mount_options(f"mounts[{index}].options", entry.get("options") or ())


def validate_process(process: Any) -> None:
    """The same for a process on its own (``exec --process``)."""
    _check("process", process, SCHEMA["process"])
    _check_process({"process": process})


def _check(where: str, value: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        _check_object(where, value, wanted)
    elif isinstance(wanted, list):
        if not isinstance(value, list):
            raise InvalidOption(where, value, "a list")
        for index, item in enumerate(value):
            _check(f"{where}[{index}]", item, wanted[0])
    elif isinstance(wanted, _Number):
        if not isinstance(value, int) or isinstance(value, bool) or not wanted.low <= value <= wanted.high:
            raise InvalidOption(where, value, f"a number from {wanted.low} to {wanted.high}")
    elif isinstance(wanted, _Word):
        if not isinstance(value, str) or not wanted.fits(value):
            raise InvalidOption(where, value, wanted.expected)
    elif not isinstance(value, wanted):
        raise InvalidOption(where, value, {bool: "true or false", str: "a string"}[wanted])


def _check_object(where: str, value: Any, wanted: Mapping[str, Any]) -> None:
    if not isinstance(value, dict):
        raise InvalidOption(where, value, "an object")
    prefix = "" if where == "config.json" else where + "."
    for name, kind in wanted.items():
        if name == "*":
            for key, item in value.items():
                _check(f"{prefix}{key}", item, kind)
            continue
        plain = name.rstrip("!")
        # Go writes an empty list as null.
        if value.get(plain) is not None:
            _check(prefix + plain, value[plain], kind)
        elif name.endswith("!"):
            raise InvalidOption(prefix + plain, value.get(plain), "a value, which is required")


def _check_process(spec: Mapping[str, Any]) -> None:
    process = spec.get("process")
    if process is None:
        return
    if not process["args"] or not process["args"][0]:
        raise InvalidOption("process.args", process["args"], "at least the program to run")
    seen = set()
    for index, limit in enumerate(process.get("rlimits") or ()):
        if limit["type"] in seen:
            raise InvalidOption(f"process.rlimits[{index}].type", limit["type"], "each limit once")
        seen.add(limit["type"])
        if limit["soft"] > limit["hard"]:
            raise InvalidOption(f"process.rlimits[{index}].soft", limit["soft"], f"at most hard, {limit['hard']}")


def _check_namespaces(spec: Mapping[str, Any]) -> None:
    linux = spec.get("linux") or {}
    namespaces: dict[str, str] = {}
    for index, entry in enumerate(linux.get("namespaces") or ()):
        where = f"linux.namespaces[{index}]"
        if entry["type"] in namespaces:
            raise InvalidOption(f"{where}.type", entry["type"], "each type once")
        namespaces[entry["type"]] = entry.get("path") or ""
        if entry.get("path") and not os.path.exists(entry["path"]):
            raise InvalidOption(f"{where}.path", entry["path"], "a namespace that exists, such as /proc/1/ns/net")
    if namespaces.get("mount") != "":
        raise InvalidOption("linux.namespaces", sorted(namespaces), "a mount namespace of its own among them")
    if "time" in namespaces and not namespaces["time"]:
        raise Unsupported("linux.namespaces: a new time namespace is not supported yet; leave it out")
    for name in ("hostname", "domainname"):
        if spec.get(name) and "uts" not in namespaces:
            raise InvalidOption(name, spec[name], "nothing, because linux.namespaces has no uts namespace")
    for name in ("uidMappings", "gidMappings"):
        if linux.get(name) and namespaces.get("user") != "":
            raise InvalidOption(f"linux.{name}", linux[name], "nothing without a new user namespace")
        if namespaces.get("user") == "" and not linux.get(name):
            raise InvalidOption(f"linux.{name}", linux.get(name), "a mapping for the new user namespace")
    for name in linux.get("sysctl") or ():
        _check_sysctl(name, namespaces)


def _check_sysctl(name: str, namespaces: Mapping[str, str]) -> None:
    """A sysctl must belong to a namespace of the container: others are the host's (runtime-spec, Sysctl)."""
    dotted = name.replace("/", ".")
    if ".." in dotted:
        raise InvalidOption(f"linux.sysctl.{name}", name, "a name such as net.ipv4.ip_forward")
    kind = ""
    if dotted.startswith("net."):
        kind = "network"
    elif dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
        kind = "ipc"
    elif dotted == "kernel.domainname":
        kind = "uts"
    if not kind:
        raise InvalidOption(f"linux.sysctl.{name}", name, "a setting that belongs to a namespace; this is the host's")
    if kind not in namespaces:
        raise InvalidOption(f"linux.sysctl.{name}", name, f"a {kind} namespace in linux.namespaces to go with it")
