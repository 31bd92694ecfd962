# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say what a container's processes may do, whose ids they have, and what of the host they see.

Everything here can be told from the parameters alone; what the host lacks is told by the engine (demands.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..._engine.errors import InvalidOption
from ..._engine.model.cgroup import UNLIMITED
from ..._engine.model.container import DEFAULT_SHM_SIZE, JOIN, Container, Device, IdMap, Namespaces, Security, Ulimit
from ..._engine.model.names import parse_name
from ..._engine.model.sysctl import namespace_of_sysctl
from .values import parse_inside, parse_pairs, parse_size

ISOLATION_OPTIONS: dict[str, Any] = {
    "cap_add": {"type": "list", "elements": "str"},
    "cap_drop": {"type": "list", "elements": "str"},
    "no_new_privileges": {"type": "bool", "default": True},
    "security_opts": {"type": "list", "elements": "str"},
    "privileged": {"type": "bool", "default": False},
    "read_only": {"type": "bool", "default": False},
    "userns": {"type": "str", "choices": ["keep", "auto", "map"], "default": "keep"},
    "uidmap": {"type": "list", "elements": "str"},
    "gidmap": {"type": "list", "elements": "str"},
    "pid_mode": {"type": "str", "default": "private"},
    "ipc_mode": {"type": "str", "default": "private"},
    "network_mode": {"type": "str", "default": "private"},
    "uts": {"type": "str", "choices": ["private", "host"], "default": "private"},
    "devices": {"type": "list", "elements": "str"},
    "device_cgroup_rules": {"type": "list", "elements": "str"},
    "shm_size": {"type": "str"},
    "ulimits": {"type": "list", "elements": "str"},
    "sysctls": {"type": "dict"},
    "oom_score_adj": {"type": "int", "default": 0},
    "init": {"type": "bool", "default": False},
}

# setrlimit(2), in lower case and without RLIMIT_, as docker has them.
_ULIMITS = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
_DEVICE_RULE = re.compile(r"[abc] (\d{1,7}|\*):(\d{1,7}|\*) r?w?m?", re.ASCII)
_LABEL_PARTS = ("user", "role", "type", "level", "filetype")
_MAX_MAPPINGS = 340  # user_namespaces(7)
_LAST_ID = 0xFFFFFFFE
_SECURITY_OPTIONS = (
    "no-new-privileges[:true|false], seccomp=unconfined, seccomp=/path/on/host, apparmor=PROFILE, label=disable, "
    "label=type:TYPE, systempaths=unconfined, mask=/path or unmask=ALL|/path"
)


def parse_isolation(params: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of Container. Raises InvalidOption."""
    namespaces = _parse_namespaces(params)
    if not -1000 <= params["oom_score_adj"] <= 1000:
        raise InvalidOption("oom_score_adj", params["oom_score_adj"], "a number from -1000 to 1000")
    return {
        "security": _parse_security(params),
        "namespaces": namespaces,
        "devices": _each("devices", params["devices"], _parse_device, lambda device: device.target),
        "device_cgroup_rules": tuple(map(_parse_device_rule, params["device_cgroup_rules"] or ())),
        "shm_size": _parse_shm_size(params["shm_size"], namespaces),
        "ulimits": _each("ulimits", params["ulimits"], _parse_ulimit, lambda ulimit: ulimit.name),
        "sysctls": _parse_sysctls(params["sysctls"], namespaces),
        "oom_score_adj": params["oom_score_adj"],
        "init": params["init"],
    }


def check_isolation(container: Container) -> None:
    """Raise InvalidOption where options of the whole container do not go together."""
    namespaces = container.namespaces
    if container.hostname and namespaces.uts == "host":
        raise InvalidOption("hostname", container.hostname, "nothing with uts: host, where the name is the host's")
    mode = namespaces.pid_mode
    if container.init and mode != "private":
        raise InvalidOption("init", True, f"false with pid_mode: {mode}, where process 1 is {_whose(mode)}")
    if namespaces.network_mode != "private":
        networks = [attachment.network for attachment in container.networks]
        for option, value in (("networks", networks), ("etc_hosts", dict(container.extra_hosts))):
            if value:
                told = f"nothing with network_mode: {namespaces.network_mode}, whose networks and names it has"
                raise InvalidOption(option, value, told)
    for option, name in namespaces.joined.items():
        if name == container.name:
            raise InvalidOption(option, JOIN + name, "the name of another container")


def _each(option: str, given: Iterable[str] | None, parse: Callable[[str], Any], key: Callable[[Any], str]) -> Any:
    """The parsed items in order, each ``key`` once."""
    found: dict[str, Any] = {}
    for text in given or ():
        item = parse(text)
        if key(item) in found:
            raise InvalidOption(option, text, f"{key(item)} once")
        found[key(item)] = item
    return tuple(found.values())


# Security -------------------------------------------------------------------------------------------


def _parse_security(params: Mapping[str, Any]) -> Security:
    fields: dict[str, Any] = {"label": [], "mask": [], "unmask": []}
    for text in params["security_opts"] or ():
        _take_security_option(fields, text)
    if fields.get("no_new_privileges") and not params["no_new_privileges"]:
        raise InvalidOption("no_new_privileges", False, "what security_opts says: no-new-privileges is among them")
    if "disable" in fields["label"] and len(fields["label"]) > 1:
        raise InvalidOption("security_opts", fields["label"], "label=disable alone, or without it")
    unmask = ["ALL"] if "ALL" in fields["unmask"] else fields["unmask"]
    return Security(
        cap_add=tuple(params["cap_add"] or ()),
        cap_drop=tuple(params["cap_drop"] or ()),
        no_new_privileges=fields.get("no_new_privileges", params["no_new_privileges"]),
        read_only=params["read_only"],
        privileged=params["privileged"],
        seccomp=fields.get("seccomp", ""),
        apparmor=fields.get("apparmor", ""),
        label=tuple(sorted({*fields["label"]})),
        mask=tuple(sorted({*fields["mask"]})),
        unmask=tuple(sorted({*unmask})),
    )


def _take_security_option(fields: dict[str, Any], text: str) -> None:
    """One of docker's or podman's ``--security-opt``; docker also takes a colon for the first ``=``."""
    name, _separator, value = text.partition("=") if "=" in text else text.partition(":")
    if name == "no-new-privileges" and value in ("", "true", "false"):
        fields["no_new_privileges"] = value != "false"
    elif name == "seccomp" and value in ("unconfined", "builtin"):
        fields["seccomp"] = "" if value == "builtin" else value
    elif name == "seccomp" and value.startswith("/") and "\0" not in value:
        fields["seccomp"] = value
    elif name == "apparmor" and value and value.isprintable():
        fields["apparmor"] = value
    elif name == "label" and (value == "disable" or (":" in value and value.partition(":")[0] in _LABEL_PARTS)):
        fields["label"].append(value)
    elif (name == "systempaths" and value == "unconfined") or (name == "unmask" and value.upper() == "ALL"):
        fields["unmask"].append("ALL")
    elif name in ("mask", "unmask") and value:
        fields[name] += [parse_inside("security_opts", path) for path in value.split(":")]
    else:
        raise InvalidOption("security_opts", text, _SECURITY_OPTIONS)


# Namespaces and ids ---------------------------------------------------------------------------------


def _parse_namespaces(params: Mapping[str, Any]) -> Namespaces:
    userns = params["userns"]
    for name in ("uidmap", "gidmap"):
        if params[name] and userns != "map":
            raise InvalidOption(name, params[name], "nothing unless userns is map")
    if userns == "map" and not params["uidmap"]:
        raise InvalidOption("uidmap", params["uidmap"], "with userns: map, ids as container:host:how many")
    uid_map = _parse_id_map("uidmap", params["uidmap"]) if params["uidmap"] else ()
    gid_map = _parse_id_map("gidmap", params["gidmap"]) if params["gidmap"] else uid_map
    modes = {name: _parse_mode(name, params[name]) for name in ("pid_mode", "ipc_mode", "network_mode")}
    for name, mode in modes.items():
        if userns != "keep" and mode != "private":
            raise InvalidOption(
                name, mode, f"private with userns: {userns}, whose root has no rights over {_whose(mode)}"
            )
    return Namespaces(
        userns=userns,
        uid_map=uid_map,
        gid_map=gid_map,
        **modes,
        uts=params["uts"],
    )


def _parse_mode(option: str, text: str) -> str:
    """``private``, ``host`` (but for the network), or ``container:`` and a name."""
    words = ("private",) if option == "network_mode" else ("private", "host")
    if text in words:
        return text
    if not text.startswith(JOIN):
        raise InvalidOption(option, text, f"{', '.join(words)}, or container: and the name of a container")
    return JOIN + parse_name(option, text[len(JOIN) :])


def _whose(mode: str) -> str:
    return "the host's" if mode == "host" else "another container's"


def _parse_id_map(option: str, given: Iterable[str]) -> IdMap:
    """``container:host:size`` each; no id twice on either side, and root has one."""
    expected = "container:host:how many, such as 0:200000:65536"
    found: list[tuple[int, int, int]] = []
    for text in given:
        parts = text.split(":")
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) <= 10 for part in parts):
            raise InvalidOption(option, text, expected)
        inside, outside, size = map(int, parts)
        if size < 1 or max(inside, outside) + size - 1 > _LAST_ID:
            raise InvalidOption(option, text, f"{expected}; ids from 0 to {_LAST_ID}")
        for others in found:
            if any(one < other + others[2] and other < one + size for one, other in zip((inside, outside), others)):
                raise InvalidOption(option, text, "each id once, in the container and on the host")
        found.append((inside, outside, size))
    if not any(inside == 0 for inside, _outside, _size in found):
        raise InvalidOption(option, list(given), "an id of the host for the container's root, 0, among them")
    if len(found) > _MAX_MAPPINGS:
        raise InvalidOption(option, len(found), f"at most {_MAX_MAPPINGS} ranges")
    return tuple(sorted(found))


# Devices, limits and settings -----------------------------------------------------------------------


def _parse_device(text: str) -> Device:
    """``host[:container[:access]]``, where docker also takes the access for the second part."""
    expected = "/dev/on_host[:/dev/in_container][:rwm], such as /dev/fuse or /dev/sda:/dev/xvda:r"
    source, *more = text.split(":")
    access = more.pop() if more and not more[-1].startswith("/") else "rwm"
    target = more.pop() if more else source
    right = bool(access) and set(access) <= set("rwm") and len(set(access)) == len(access)
    if more or not right or not source.startswith("/"):
        raise InvalidOption("devices", text, expected)
    source, target = (parse_inside("devices", path) for path in (source, target))
    if "/" in (source, target):
        raise InvalidOption("devices", text, expected)
    return Device(source, target, "".join(letter for letter in "rwm" if letter in access))


def _parse_device_rule(text: str) -> str:
    if not _DEVICE_RULE.fullmatch(text) or text.endswith(" "):
        raise InvalidOption("device_cgroup_rules", text, "a rule such as 'c 42:* rwm' (a, b or c; numbers or *; rwm)")
    return text


def _parse_shm_size(text: str | None, namespaces: Namespaces) -> int:
    size = parse_size("shm_size", text, least=4096)
    if size is None:
        return DEFAULT_SHM_SIZE
    if size == UNLIMITED:
        raise InvalidOption("shm_size", text, "a size such as 64M")
    mode = namespaces.ipc_mode
    if mode != "private":
        raise InvalidOption("shm_size", text, f"nothing with ipc_mode: {mode}, where /dev/shm is {_whose(mode)}")
    return size


def _parse_ulimit(text: str) -> Ulimit:
    """``name:soft[:hard]`` or ``name=soft[:hard]``; -1 or unlimited for no limit."""
    name, *values = text.replace("=", ":", 1).split(":")
    expected = f"name:soft[:hard], such as nofile:1024:4096, with a name out of {', '.join(_ULIMITS)}"
    if name not in _ULIMITS or len(values) not in (1, 2):
        raise InvalidOption("ulimits", text, expected)
    numbers = [UNLIMITED if value in ("-1", "unlimited") else _number(value) for value in values]
    soft, hard = numbers[0], numbers[-1]
    if soft is None or hard is None:
        raise InvalidOption("ulimits", text, expected)
    if hard != UNLIMITED and (soft == UNLIMITED or soft > hard):
        raise InvalidOption("ulimits", text, f"a soft limit that is at most the hard one, {hard}")
    return Ulimit(name, soft, hard)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _parse_sysctls(given: Mapping[str, Any] | None, namespaces: Namespaces) -> tuple[tuple[str, str], ...]:
    """Settings of namespaces that are the container's own."""
    shared = {"ipc": namespaces.ipc_mode, "uts": namespaces.uts, "network": namespaces.network_mode}
    numbers = {name: int(value) if isinstance(value, bool) else value for name, value in (given or {}).items()}
    pairs = parse_pairs("sysctls", numbers)
    for name, value in pairs:
        namespace = namespace_of_sysctl(name)
        if not namespace:
            expected = "a setting of a namespace (net.*, fs.mqueue.*, kernel.shm*, ...); this one is the whole host's"
            raise InvalidOption("sysctls", name, expected)
        mode = shared.get(namespace, "private")
        if mode != "private":
            raise InvalidOption("sysctls", name, f"nothing of the {namespace} namespace, which is {_whose(mode)} here")
        if "\n" in value:
            raise InvalidOption(f"sysctls: {name}", value, "one line")
    return pairs
