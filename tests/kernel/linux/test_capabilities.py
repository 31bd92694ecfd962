"""Capabilities on the real kernel: what is dropped is gone, what is ambient stays."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import capabilities
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
    NUMBERS,
    apply_bounding,
    apply_sets,
    capability_mask,
    observe_capabilities,
    observe_last_capability,
)
from tests.kernel.linux.forked import run_forked

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="drops capabilities of root")]

NET_RAW, KILL, SETPCAP = (NUMBERS[name] for name in ("CAP_NET_RAW", "CAP_KILL", "CAP_SETPCAP"))


def test_this_kernel_is_read() -> None:
    last = observe_last_capability()
    assert last >= NUMBERS["CAP_AUDIT_READ"]
    assert capabilities.prctl_capbset_read(0) == bool(observe_capabilities()["bounding"] & 1)
    with pytest.raises(OSError, match="Invalid argument"):
        capabilities.prctl_capbset_read(last + 1)
    sets = observe_capabilities(os.getpid())
    assert capabilities.capget() == (sets["effective"], sets["permitted"], sets["inheritable"])
    assert capabilities.capget(os.getpid()) == capabilities.capget()


def test_capget_of_nobody_is_an_error() -> None:
    with pytest.raises(OSError) as caught:
        capabilities.capget((1 << 22) + 1)  # above the greatest pid_max
    assert caught.value.errno == errno.ESRCH


def test_dropped_capabilities_stay_away_after_exec() -> None:
    held = observe_capabilities()["bounding"]
    mask, refused = capabilities.split_grantable(DEFAULT_CAPABILITIES, held)

    def child() -> dict[str, int]:
        apply_bounding(mask, observe_last_capability())
        apply_sets(mask, mask, 0, 0)
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.dup2(writer, 1)
            os.execv("/bin/grep", ["grep", "^Cap", "/proc/self/status"])
        os.wait()
        lines = os.read(reader, 4096).decode().splitlines()
        return {line.split(":")[0]: int(line.split(":")[1], 16) for line in lines}

    sets = run_forked(child)
    assert sets == {"CapInh": 0, "CapPrm": mask, "CapEff": mask, "CapBnd": mask, "CapAmb": 0}
    assert mask.bit_count() == len(DEFAULT_CAPABILITIES) - len(refused)


def test_ambient_capabilities_reach_a_user() -> None:
    mask = 1 << NET_RAW | 1 << KILL

    def child() -> dict[str, int]:
        apply_bounding(mask, observe_last_capability())
        capabilities.prctl_set_keepcaps(True)
        os.setresgid(12345, 12345, 12345)
        os.setresuid(12345, 12345, 12345)
        capabilities.prctl_set_keepcaps(False)
        apply_sets(mask, mask, mask, 1 << NET_RAW)
        return observe_capabilities()

    assert run_forked(child) == {
        "bounding": mask,
        "effective": mask,
        "permitted": mask,
        "inheritable": mask,
        "ambient": 1 << NET_RAW,
    }


def test_without_keepcaps_a_user_has_nothing() -> None:
    def child() -> list[int]:
        os.setresuid(12345, 12345, 12345)
        return list(capabilities.capget())

    assert run_forked(child) == [0, 0, 0]


def _without_setpcap() -> None:
    effective, permitted, inheritable = capabilities.capget()
    capabilities.capset(effective & ~(1 << SETPCAP), permitted & ~(1 << SETPCAP), inheritable)


def _regain() -> None:
    _without_setpcap()
    capabilities.capset(1 << SETPCAP, 1 << SETPCAP, 0)


def _drop_without_setpcap() -> None:
    _without_setpcap()
    capabilities.prctl_capbset_drop(KILL)


def _ambient_without_inheritable() -> None:
    capabilities.capset(1 << KILL, 1 << KILL, 0)
    capabilities.prctl_cap_ambient_raise(KILL)


@pytest.mark.parametrize("function", [_regain, _drop_without_setpcap, _ambient_without_inheritable])
def test_what_the_kernel_refuses_is_an_error(function: Any) -> None:
    with pytest.raises(OSError) as caught:
        run_forked(function)
    assert caught.value.errno == errno.EPERM


def test_every_name_has_the_kernels_number() -> None:
    known = CAPABILITIES[: observe_last_capability() + 1]
    assert capability_mask(known) == (1 << len(known)) - 1
