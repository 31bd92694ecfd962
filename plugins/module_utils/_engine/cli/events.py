# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``stowage-runtime events``: what a container uses, a JSON object a line, and when it runs out of memory."""

from __future__ import annotations

import os
import select
import sys
import time

from ..errors import Conflict, InvalidOption
from ..linux.lean import Descriptor, compact
from ..runtime.oom import OomWatch
from ..runtime.stats import observe_stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..runtime.oci import Runtime
    from .oci_options import Words

_LONGEST = 1_000_000  # seconds; poll(2) takes 31 bits of milliseconds
# time.ParseDuration() of go, in seconds.
_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def events(runtime: Runtime, words: Words) -> int:
    """With --stats once; else every --interval, and at once where it runs out of memory, until the container ends."""
    identity = words.identity()
    interval = parse_duration("events --interval", words.text("interval", "5s"))
    if interval <= 0:
        raise InvalidOption("events --interval", words.text("interval"), "a duration interval greater than 0")
    state = runtime.state(identity)
    if state.status() in ("stopped", "creating"):
        raise Conflict(f"container {identity!r}: container with id {identity} is not running")
    directories = runtime.cgroups(state.cgroups_path).directories(state.cgroups_path) if state.cgroups_path else {}
    if words.flag("stats"):
        _write("stats", identity, observe_stats(directories, state))
        return 0
    with Descriptor(os.pidfd_open(state.pid)) as pidfd, OomWatch(directories) as watch:
        _stream(identity, interval, pidfd, watch, lambda: observe_stats(directories, state))
    return 0


def _stream(identity: str, interval: float, pidfd: int, watch: OomWatch, observe: Callable[[], object]) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if watch.fd >= 0:
        poll.register(watch.fd, watch.mask)
    due = time.monotonic() + interval
    while True:
        ready = {fd for fd, _event in poll.poll(min(max(due - time.monotonic(), 0), _LONGEST) * 1000)}
        for _time in range(watch.news() if watch.fd in ready or pidfd in ready else 0):
            _write("oom", identity)
        if pidfd in ready:
            return
        if time.monotonic() >= due:
            _write("stats", identity, observe())
            due += interval


def _write(kind: str, identity: str, data: object = None) -> None:
    told: dict[str, object] = {"type": kind, "id": identity}
    sys.stdout.write(compact(told if data is None else {**told, "data": data}) + "\n")
    sys.stdout.flush()


def parse_duration(option: str, text: str) -> float:
    """Seconds of a duration as go writes it: ``1m30s``, ``100ms``. Raises InvalidOption."""
    rest, total = text.lstrip("+-"), 0.0
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("".join(set("".join(_UNITS)))))]
        rest = rest[len(unit) :]
        if unit not in _UNITS or number.count(".") > 1 or not number.strip("."):
            raise InvalidOption(option, text, "a duration such as 5s, 100ms or 1m30s")
        total += float(number) * _UNITS[unit]
    return -total if text.startswith("-") else total
