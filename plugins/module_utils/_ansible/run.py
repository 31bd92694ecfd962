# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cycle of every module: observe, plan, then check or apply, observe and plan again.

The only place that reads check_mode. What the second plan still wants is an error, told field by field.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import EngineError, InvalidOption, NotConverged, NotFound
from .._engine.host import Host
from .._engine.paths import Paths
from .._engine.plan.change import Change, plain
from .._engine.plan.container import StartContainer
from .sources import used_engine

Wanted = Mapping[str, Any]
INFO_SPEC: dict[str, Any] = {"name": {"type": "list", "elements": "str", "aliases": ["names"]}}


class Noun:
    """What a module manages: how to see it, how to make what is wanted whole, how to plan it, how to tell of it."""

    name: str
    # Whether a run holds the host's lock; what takes long and changes nothing but images has one of its own.
    locks_host = True
    # Whether making such a thing installs the engine: containers run out of it, and from then on modules do.
    uses_engine = True
    # Whether such a thing is on the host; else its lock is not needed, and no root.
    on_host = True

    @property
    def plural(self) -> str:
        """What a list of them is called."""
        return self.name + "s"

    def observe(self, host: Host) -> Mapping[str, Any]:
        """All things of this kind on the host, by name."""
        raise NotImplementedError

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        """What is wanted (None: absent) with the gaps filled from the host; raises before anything is changed."""
        return wanted

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        """The changes, pure."""
        raise NotImplementedError

    def apply(self, host: Host, changes: Iterable[Change]) -> None:
        """Make the changes, under the host's lock."""
        host.apply(changes)

    def plan_again(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        """The plan for the verification: without orders such as ``restart``."""
        return self.plan(desired, current)

    def tell(self, thing: Any) -> dict[str, Any]:
        """A thing as a module returns it."""
        told: dict[str, Any] = plain(thing)
        return told

    def more(self) -> dict[str, Any]:
        """What a module returns besides, failed or not."""
        return {}

    def warnings(self) -> Iterable[str]:
        """What a user is told of a run that went well."""
        return ()


def run(
    module: AnsibleModule, noun: Noun, parse: Callable[[Mapping[str, Any]], Wanted], *, many: bool = False
) -> NoReturn:
    """Make the host have what the parameters ask for (or say what that would take) and exit the module.

    ``parse`` turns parameters into what is wanted by name. ``many`` returns a list instead of one thing.
    """
    host = _host(module)
    try:
        wanted = parse(module.params)
        locks = noun.on_host and noun.locks_host and not module.check_mode
        with host.locked() if locks else contextlib.nullcontext():
            changes, desired, current = _reconcile(host, noun, wanted, check=module.check_mode)
    except EngineError as error:
        fail(module, error, noun.more())
    for warning in noun.warnings():
        module.warn(warning)
    told = [{"name": name, **noun.tell(current[name])} for name in desired if name in current]
    if many:
        subjects = {change.subject for change in changes}
        found: dict[str, Any] = {noun.plural: [{**t, "changed": f"{noun.name} {t['name']}" in subjects} for t in told]}
    else:
        found = {noun.name: told[0] if told else {}}
    module.exit_json(
        changed=bool(changes), changes=[c.describe() for c in changes], diff=diff_of(changes), **found, **noun.more()
    )


def _host(module: AnsibleModule) -> Host:
    """In check mode what is not there yet may be the work of an earlier task, which did nothing either."""
    if not module.check_mode:
        return Host(Paths.from_environment())

    return Host(Paths.from_environment(), absent=lambda error: module.warn(assumption_of(error)))


def assumption_of(error: NotFound) -> str:
    """The warning of what check mode takes for granted."""
    return f"{error.kind} {error.name} is not {error.where}; check mode takes it that an earlier task makes it"


def _reconcile(
    host: Host, noun: Noun, wanted: Wanted, *, check: bool
) -> tuple[list[Change], Wanted, Mapping[str, Any]]:
    desired = noun.resolve(host, wanted)
    current = noun.observe(host)
    changes = list(noun.plan(desired, current))
    if check:
        host.check(changes)
    elif changes:
        if noun.uses_engine and any(thing is not None for thing in desired.values()):
            from .install import engine_command, install_engine  # most runs change nothing

            with contextlib.nullcontext() if noun.locks_host else host.locked():
                host.engine = engine_command(host.paths, used_engine() or install_engine(host.paths))
        noun.apply(host, changes)
        current = noun.observe(host)
        _verify(noun.plan_again(desired, current))
    return changes, desired, current


def run_info(module: AnsibleModule, noun: Noun) -> NoReturn:
    """Return what is there: all things of the kind, or those of the parameter ``name`` that exist (INFO_SPEC)."""
    names = module.params["name"]
    try:
        current = noun.observe(Host(Paths.from_environment()))
    except EngineError as error:
        fail(module, error)
    chosen = sorted(current) if names is None else [name for name in names if name in current]
    told = [{"name": name, **noun.tell(current[name])} for name in chosen]
    module.exit_json(changed=False, **{noun.plural: told})


def fail(module: AnsibleModule, error: EngineError, told: Mapping[str, Any] | None = None) -> NoReturn:
    """Translate an engine error: its sentence, and the option where it knows one."""
    module.fail_json(**failure_of(error), **(told or {}))


def failure_of(error: EngineError) -> dict[str, Any]:
    """What a result says of an error."""
    more = {"option": error.option, "expected": error.expected} if isinstance(error, InvalidOption) else {}
    return {"msg": str(error), "error": type(error).__name__, **more}


def _verify(changes: Iterable[Change]) -> None:
    left = list(changes)
    if left:
        told = "; ".join(map(str, left))
        ended = [change.desired.name for change in left if isinstance(change, StartContainer)]
        advice = f"; it ended by itself, see what it said: stowage logs {ended[0]}" if ended else ""
        raise NotConverged(f"applied, but the host still differs from what is wanted: {told}{advice}")


def diff_of(changes: list[Change]) -> dict[str, str]:
    """Before and after as Ansible's --diff shows them: only what differs, by subject."""
    return {
        "before": _lines((change.subject, change.before) for change in changes),
        "after": _lines((change.subject, change.after) for change in changes),
    }


def _lines(told: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    return "".join(
        f"{subject}: {name}: {json.dumps(value, sort_keys=True)}\n"
        for subject, values in told
        for name, value in values.items()
    )
