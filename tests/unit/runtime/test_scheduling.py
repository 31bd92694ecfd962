"""The words of the schema have numbers, and lists of CPUs and nodes become bits."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import mempolicy, personality, scheduler
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config import schema
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.scheduling import check_process
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.time_offsets import (
    parse_time_offsets,
)

PROCESS, LINUX = schema.PROCESS.members, schema.LINUX.members


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        (scheduler.POLICIES, PROCESS["scheduler"].members["policy"]),
        (scheduler.FLAGS, PROCESS["scheduler"].members["flags"].item),
        (scheduler.CLASSES, PROCESS["ioPriority"].members["class"]),
        (mempolicy.MODES, LINUX["memoryPolicy"].members["mode"]),
        (mempolicy.FLAGS, LINUX["memoryPolicy"].members["flags"].item),
        (personality.DOMAINS, LINUX["personality"].members["domain"]),
    ],
)
def test_every_word_has_a_number(numbers, kind):
    assert numbers.keys() == kind.words


@pytest.mark.parametrize(
    ("text", "numbers"), [("", set()), ("0", {0}), ("0-3,7", {0, 1, 2, 3, 7}), (" 1 , 5-5 ,", {1, 5})]
)
def test_lists_of_numbers(text, numbers):
    assert scheduler.parse_numbers(text) == numbers


def test_a_mask_has_a_bit_for_each():
    assert scheduler.mask({0, 9, 64}, 16) == (1 | 1 << 9 | 1 << 64).to_bytes(16, "little")
    assert scheduler.mask(set(), 8) == bytes(8)
    with pytest.raises(ValueError, match="64 is more"):
        scheduler.mask({64}, 8)


def test_an_affinity_is_of_cpus_that_there_can_be():
    check_process({"execCPUAffinity": {"initial": "0-8191", "final": ""}})
    with pytest.raises(InvalidOption, match=r"process\.execCPUAffinity\.final"):
        check_process({"execCPUAffinity": {"final": "8192"}})


def test_time_offsets_are_seconds_and_nanoseconds():
    linux = {"timeOffsets": {"monotonic": {"secs": 5}, "boottime": {"nanosecs": 7}}}
    assert parse_time_offsets(linux) == {"monotonic": (5, 0), "boottime": (0, 7)}
    assert parse_time_offsets({}) == {}
