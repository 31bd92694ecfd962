# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container uses, in the shape that ``runc events`` prints (its types/events.go): CPU time in nanoseconds,
memory in bytes, no limit as the greatest number of 64 bits. As there, what is zero is left out, but for a few.
"""

from __future__ import annotations

import os

from ..linux.cgroupfs import read_value
from ..model.quantities import parse_cpu_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .state import State

_MOST = (1 << 64) - 1
_TICKS = os.sysconf("SC_CLK_TCK")


def observe_stats(directories: Mapping[str, str], state: State) -> dict[str, Any]:
    """``directories`` are a container's by controller, or v2's one as ``""``."""
    unified = directories.get("", "")
    classes: dict[str, Any] = {}
    if state.values.get("resctrl"):
        from .intel_rdt_stats import observe_classes  # few hosts have such a thing

        classes = observe_classes(state.values["resctrl"])
    return {
        "cpu": _cpu_v2(unified) if unified else _cpu_v1(directories),
        "cpuset": _cpuset_v2(unified) if unified else _cpuset_v1(directories.get("cpuset", "")),
        "memory": _memory_v2(unified) if unified else _memory_v1(directories.get("memory", "")),
        "pids": _pids(unified or directories.get("pids", "")),
        "blkio": _io_v2(unified) if unified else _blkio_v1(directories.get("blkio", "")),
        "hugetlb": _hugetlb(unified or directories.get("hugetlb", "")),
        "intel_rdt": classes,
        "network_interfaces": list(_interfaces(state.pid)) or None,
    }


def read_table(path: str) -> dict[str, int]:
    """A file of lines ``name number``; nothing where there is none."""
    pairs = (line.split(" ") for line in (read_value(path) or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(path: str) -> int:
    text = read_value(path) or "0"
    if text == "max":
        return _MOST
    return int(text) if text.lstrip("-").isdigit() else 0


def _some(values: Mapping[str, Any], *kept: str) -> dict[str, Any]:
    """``values`` without what is zero or empty, but with those ``kept``."""
    return {name: value for name, value in values.items() if value or name in kept}


def _cpu_v2(directory: str) -> dict[str, Any]:
    found = read_table(f"{directory}/cpu.stat")
    usage = {
        "total": found.get("usage_usec", 0) * 1000,
        "kernel": found.get("system_usec", 0) * 1000,
        "user": found.get("user_usec", 0) * 1000,
    }
    throttling = {
        "periods": found.get("nr_periods", 0),
        "throttledPeriods": found.get("nr_throttled", 0),
        "throttledTime": found.get("throttled_usec", 0) * 1000,
    }
    told = {"usage": _some(usage, "kernel", "user"), "throttling": _some(throttling)}
    return _some({**told, "psi": _pressure(f"{directory}/cpu.pressure")})


def _cpu_v1(directories: Mapping[str, str]) -> dict[str, Any]:
    accounts = directories.get("cpuacct", "")
    spent = read_table(f"{accounts}/cpuacct.stat")
    rows = [line.split(" ") for line in (read_value(f"{accounts}/cpuacct.usage_all") or "").splitlines()[1:]]
    usage = {
        "total": _number(f"{accounts}/cpuacct.usage"),
        "percpu": [int(value) for value in (read_value(f"{accounts}/cpuacct.usage_percpu") or "").split()],
        "percpu_kernel": [int(row[2]) for row in rows if len(row) > 2],
        "percpu_user": [int(row[1]) for row in rows if len(row) > 2],
        "kernel": spent.get("system", 0) * 1_000_000_000 // _TICKS,
        "user": spent.get("user", 0) * 1_000_000_000 // _TICKS,
    }
    found = read_table(f"{directories.get('cpu', '')}/cpu.stat")
    throttling = {
        "periods": found.get("nr_periods", 0),
        "throttledPeriods": found.get("nr_throttled", 0),
        "throttledTime": found.get("throttled_time", 0),
    }
    return _some({"usage": _some(usage, "kernel", "user"), "throttling": _some(throttling)})


def _cpuset_v1(directory: str) -> dict[str, Any]:
    names = ["cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page"]
    names += ["memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"]
    lists = {name: _list(f"{directory}/cpuset.{name}") for name in ("cpus", "mems")}
    return {**_some(lists), **{name: _number(f"{directory}/cpuset.{name}") for name in names}}


def _cpuset_v2(directory: str) -> dict[str, Any]:
    """What v2 has of it; the rest is zero, as in runc."""
    lists = {name: _list(f"{directory}/cpuset.{name}.effective") for name in ("cpus", "mems")}
    return {**_some(lists), **{name: value * 0 for name, value in _cpuset_v1("").items()}}


def _list(path: str) -> list[int]:
    return sorted(parse_cpu_list(path, read_value(path) or ""))


def _memory_v1(directory: str) -> dict[str, Any]:
    raw = read_table(f"{directory}/memory.stat")
    entries = {"usage": "memory", "swap": "memory.memsw", "kernel": "memory.kmem", "kernelTCP": "memory.kmem.tcp"}
    told: dict[str, Any] = {"cache": raw.get("cache", 0)}
    for name, prefix in entries.items():
        told[name] = _entry(
            limit=_number(f"{directory}/{prefix}.limit_in_bytes"),
            usage=_number(f"{directory}/{prefix}.usage_in_bytes"),
            most=_number(f"{directory}/{prefix}.max_usage_in_bytes"),
            failcnt=_number(f"{directory}/{prefix}.failcnt"),
        )
    return _some({**told, "raw": raw})


def _memory_v2(directory: str) -> dict[str, Any]:
    raw = read_table(f"{directory}/memory.stat")
    usage, limit = (_number(f"{directory}/memory.{name}") for name in ("current", "max"))
    swap, most = (_number(f"{directory}/memory.swap.{name}") for name in ("current", "max"))
    told: dict[str, Any] = {"cache": raw.get("file", 0)}
    told["usage"] = _entry(limit=limit, usage=usage, most=_number(f"{directory}/memory.peak"), failcnt=0)
    if read_value(f"{directory}/memory.swap.current") is not None:
        total = most if most == _MOST else min(most + limit, _MOST)
        told["swap"] = _entry(limit=total, usage=swap + usage, most=0, failcnt=0)
    return _some({**told, "raw": raw, "psi": _pressure(f"{directory}/memory.pressure")})


def _entry(*, limit: int, usage: int, most: int, failcnt: int) -> dict[str, int]:
    values = {"limit": limit, "usage": usage, "max": most, "failcnt": failcnt}
    return _some(values, "limit", "failcnt") if any(values.values()) else {}


def _pids(directory: str) -> dict[str, Any]:
    limit = _number(f"{directory}/pids.max")
    return _some({"current": _number(f"{directory}/pids.current"), "limit": 0 if limit == _MOST else limit})


# By the files of BFQ, where they are, of CFQ or of the throttle, which every kernel has.
_BLKIO = {
    "ioServiceBytesRecursive": "io_service_bytes",
    "ioServicedRecursive": "io_serviced",
    "ioQueueRecursive": "io_queued",
    "ioServiceTimeRecursive": "io_service_time",
    "ioWaitTimeRecursive": "io_wait_time",
    "ioMergedRecursive": "io_merged",
    "ioTimeRecursive": "time",
    "sectorsRecursive": "sectors",
}


def _blkio_v1(directory: str) -> dict[str, Any]:
    """From the first kind of file that knows of a device."""
    found: dict[str, Any] = {}
    for form in ("blkio.bfq.{}_recursive", "blkio.{}_recursive", "blkio.throttle.{}_recursive", "blkio.throttle.{}"):
        found = {name: list(_entries(f"{directory}/{form.format(file)}")) for name, file in _BLKIO.items()}
        if any(found.values()):
            break
    return _some(found)


def _entries(path: str) -> Iterator[dict[str, Any]]:
    """Lines ``8:0 Read 4096``; the last is a total."""
    for line in (read_value(path) or "").splitlines():
        device, *operation, value = line.split(" ")
        major, colon, minor = device.partition(":")
        if colon:
            yield _some({"major": int(major), "minor": int(minor), "op": "".join(operation[:1]), "value": int(value)})


def _io_v2(directory: str) -> dict[str, Any]:
    keys = {
        "rbytes": ("ioServiceBytesRecursive", "Read"),
        "wbytes": ("ioServiceBytesRecursive", "Write"),
        "rios": ("ioServicedRecursive", "Read"),
        "wios": ("ioServicedRecursive", "Write"),
    }
    found: dict[str, Any] = {}
    for line in (read_value(f"{directory}/io.stat") or "").splitlines():
        device, *items = line.split(" ")
        major, _colon, minor = device.partition(":")
        for key, _equals, value in (item.partition("=") for item in items):
            if key in keys and minor.isdigit():
                name, operation = keys[key]
                entry = {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}
                found.setdefault(name, []).append(_some(entry))
    return _some({**found, "psi": _pressure(f"{directory}/io.pressure")})


def _hugetlb(directory: str) -> dict[str, Any]:
    """By size of page; what is reserved, where the kernel counts that."""
    found: dict[str, Any] = {}
    if not os.path.isdir(directory):
        return found
    files = set(os.listdir(directory))
    for size in {name.split(".")[1] for name in files if name.startswith("hugetlb.")}:
        prefix = f"hugetlb.{size}"
        if f"{prefix}.events" in files:
            rsvd = ".rsvd" if f"{prefix}.rsvd.current" in files else ""
            usage, most = _number(f"{directory}/{prefix}{rsvd}.current"), 0
            failcnt = read_table(f"{directory}/{prefix}.events").get("max", 0)
        else:
            rsvd = ".rsvd" if f"{prefix}.rsvd.usage_in_bytes" in files else ""
            usage, most, failcnt = (
                _number(f"{directory}/{prefix}{rsvd}.{name}")
                for name in ("usage_in_bytes", "max_usage_in_bytes", "failcnt")
            )
        found[size] = _some({"usage": usage, "max": most, "failcnt": failcnt}, "failcnt")
    return found


def _pressure(path: str) -> dict[str, Any] | None:
    """Pressure stall information (Documentation/accounting/psi.rst); None where the kernel has none."""
    try:
        lines = (read_value(path) or "").splitlines()
    except OSError:  # booted with psi=0
        return None
    found = {}
    for line in lines:
        kind, *items = line.split(" ")
        pairs = dict(item.partition("=")[::2] for item in items)
        found[kind] = {name: int(text) if name == "total" else float(text) for name, text in pairs.items()}
    return {kind: values for kind, values in found.items() if any(values.values())} if found else None


def _interfaces(pid: int) -> Iterator[dict[str, Any]]:
    """The interfaces in a network namespace of the container's own, but for lo (proc_pid_net(5), dev)."""
    try:
        if os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            return
        with open(f"/proc/{pid}/net/dev", encoding="ascii", errors="replace") as lines:
            rows = lines.read().splitlines()[2:]
    except OSError:
        return
    names = ("Bytes", "Packets", "Errors", "Dropped")
    for row in rows:
        name, _colon, counts = row.partition(":")
        numbers = [int(count) for count in counts.split()]
        if name.strip() != "lo" and len(numbers) > 11:
            received = {f"Rx{what}": number for what, number in zip(names, numbers)}
            yield {"Name": name.strip(), **received, **{f"Tx{w}": n for w, n in zip(names, numbers[8:])}}
