# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``stowage inspect`` tells, in words: first what was asked for, then what the kernel says of it now."""

from __future__ import annotations

from .tables import age, coloured, size, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

HIDDEN = "(hidden)"
_CPU_PERIOD = 100_000


def hide_values(env: Iterable[Sequence[str]]) -> list[list[str]]:
    """Variables without their values, which are often secret."""
    return [[name, HIDDEN] for name, _value in env]


def readable(told: Mapping[str, Any]) -> str:
    """All of it, for people."""
    sections = [_asked(told["definition"], told)]
    effective = told["effective"]
    if effective is None:
        sections.append(["It does not run: the kernel has nothing to say of it."])
    else:
        sections.append(_rows(_effective(effective)))
        sections.append([table(["MOUNT", "TYPE", "SOURCE", "OPTIONS"], [_mount(one) for one in effective["mounts"]])])
        nodes = [[one["path"], one["type"], one["number"]] for one in effective["devices"]]
        sections.append([table(["DEVICE", "TYPE", "NUMBER"], nodes)])
    return "\n".join("\n".join(section).rstrip("\n") + "\n" for section in sections)


def _rows(pairs: Iterable[tuple[str, str]]) -> list[str]:
    told = [(name, value) for name, value in pairs if value]
    width = max(len(name) for name, _value in told)
    return [f"{name.ljust(width)}   {value}" for name, value in told]


def _asked(definition: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    status = "not started" if told["exit_code"] is None else f"ended ({told['exit_code']})"
    if told["running"]:
        status = f"running for {age(told['started_at']) or 'a moment'}, pid {told['pid']}"
    head = f"{coloured(told['name'], 'bold')}   {status}"
    volumes = (f"{v['source']} on {v['target']}{' (ro)' if v['read_only'] else ''}" for v in definition["volumes"])
    return [
        head,
        *_rows(
            [
                ("image", f"{definition['image']} {definition['image_digest'][7:19]}, {len(told['layers'])} layers"),
                ("command", " ".join(definition["args"])),
                ("environment", ", ".join(f"{n}={v}" if v != HIDDEN else n for n, v in definition["env"])),
                ("volumes", ", ".join(volumes)),
                ("runtime", definition["runtime"]),
                ("cgroup", told["cgroups_path"]),
            ]
        ),
    ]


def _effective(found: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    user = found["user"]
    yield "user", f"{user['uid']}:{user['gid']} on the host, groups {' '.join(map(str, user['groups'])) or 'none'}"
    yield "ids", ", ".join(_ids(ids) for ids in found["uid_map"])
    sets = found["capabilities"]
    yield "capabilities", ", ".join(name[4:].lower() for name in sets["effective"]) or "none"
    if sets["bounding"] != sets["effective"]:
        yield "could have", ", ".join(name[4:].lower() for name in sets["bounding"]) or "none"
    yield "ambient", ", ".join(name[4:].lower() for name in sets["ambient"])
    yield "new privileges", "none" if found["no_new_privileges"] else "set-user-ID and file capabilities count"
    yield (
        "seccomp",
        f"{found['seccomp']} ({found['seccomp_filters']})" if found["seccomp_filters"] else found["seccomp"],
    )
    yield "label", found["label"]
    own = [name for name, which in found["namespaces"].items() if which != "host"]
    shared = [name for name, which in found["namespaces"].items() if which == "host"]
    yield "namespaces", ", ".join(own) + (f"; the host's: {', '.join(shared)}" if shared else "")
    yield "limits", _limits(found["cgroup_limits"])
    yield "ulimits", ", ".join(f"{name} {soft}:{hard}" for name, (soft, hard) in found["limits"].items())
    yield "oom score", str(found["oom_score_adj"] or "")
    yield "interfaces", ", ".join(found["interfaces"])
    yield "networks", ", ".join(f"{at['network']} {at['address']}{_connected(at)}" for at in found["networks"])
    ports = (f"{p['host_ip']}:{p['host_port']}->{p['container_port']}/{p['protocol']}" for p in found["ports"])
    yield "ports", ", ".join(ports)


def _ids(ids: Sequence[int]) -> str:
    inside, outside, count = ids
    if inside == outside:
        return (
            "the host's" if (inside, count) == (0, 0xFFFFFFFF) else f"{inside} to {inside + count - 1} are the host's"
        )
    return f"{inside} to {inside + count - 1} are {outside} to {outside + count - 1} on the host"


def _connected(at: Mapping[str, Any]) -> str:
    return "" if at["connected"] else " (not connected)"


def _limits(limits: Mapping[str, Any]) -> str:
    """Those that limit anything."""
    told = [f"{name.replace('_', ' ')} {size(limits[name])}" for name in _SIZES if _is_limit(limits.get(name))]
    if _is_limit(limits.get("cpu_quota")):
        told.append(f"cpus {limits['cpu_quota'] / _CPU_PERIOD:g}")
    if limits.get("cpu_weight") not in (None, 100):
        told.append(f"cpu weight {limits['cpu_weight']}")
    if _is_limit(limits.get("pids")):
        told.append(f"pids {limits['pids']}")
    told += [f"{name.replace('_', ' ')} {limits[name]}" for name in ("cpuset_cpus", "cpuset_mems") if limits.get(name)]
    return ", ".join(told) or "none"


_SIZES = ("memory", "memory_reservation", "memory_swap")


def _is_limit(value: int | None) -> bool:
    return value is not None and value > 0


def _mount(one: Mapping[str, Any]) -> list[str]:
    source = one["source"] if one["root"] == "/" else f"{one['source']}:{one['root']}"
    return [one["target"], one["type"], source, ",".join(one["options"])]
