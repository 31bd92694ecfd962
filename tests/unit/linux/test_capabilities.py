"""Names, numbers and sets of capabilities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
    NUMBERS,
    capability_mask,
    capability_names,
    parse_capability,
    plan_capabilities,
    split_grantable,
)

NAMES = st.sets(st.sampled_from(CAPABILITIES))


def test_numbers_are_the_kernels() -> None:
    assert len(CAPABILITIES) == 41
    some = {"CAP_CHOWN": 0, "CAP_SETPCAP": 8, "CAP_SYS_ADMIN": 21, "CAP_SYSLOG": 34, "CAP_CHECKPOINT_RESTORE": 40}
    assert {name: NUMBERS[name] for name in some} == some
    assert capability_mask(DEFAULT_CAPABILITIES) == 0xA80425FB  # CapBnd in every docker container


@pytest.mark.parametrize("name", ["NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_net_admin"])
def test_names_with_and_without_prefix(name: str) -> None:
    assert parse_capability(name, "cap_add") == "CAP_NET_ADMIN"


@pytest.mark.parametrize("name", ["", "CAP_", "NET-ADMIN", "CAP_CAP_CHOWN", "40", 21, None, "ALL "])
def test_unknown_names_are_refused(name: object) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_capability(name, "cap_add")
    assert str(caught.value).startswith(f"cap_add: {name!r} is not valid; expected ALL or a capability")


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], [], {*DEFAULT_CAPABILITIES}),
        (["NET_ADMIN"], ["mknod"], {*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN"} - {"CAP_MKNOD"}),
        (["CHOWN"], ["ALL"], {"CAP_CHOWN"}),
        ([], ["all"], set()),
        (["ALL"], ["SYS_MODULE"], {*CAPABILITIES} - {"CAP_SYS_MODULE"}),
        (["all"], ["ALL"], {*CAPABILITIES}),
        (["MKNOD"], ["MKNOD"], {*DEFAULT_CAPABILITIES}),
    ],
)
def test_add_and_drop_as_docker_does(add: list[str], drop: list[str], expected: set[str]) -> None:
    assert set(plan_capabilities(add, drop)) == expected


def test_all_is_what_the_host_can_grant() -> None:
    assert plan_capabilities(["ALL"], ["KILL"], every=("CAP_KILL", "CAP_CHOWN")) == ("CAP_CHOWN",)


@pytest.mark.parametrize("option", ["cap_add", "cap_drop"])
def test_the_option_is_named(option: str) -> None:
    with pytest.raises(InvalidOption, match=f"{option}: 'NET_ADMN'"):
        plan_capabilities(**{option: ["CHOWN", "NET_ADMN"]})


@given(names=NAMES, held=NAMES)
def test_what_cannot_be_granted_is_told(names: set[str], held: set[str]) -> None:
    mask, refused = split_grantable([*sorted(names), "CAP_OF_TOMORROW"], capability_mask(held))
    assert {*capability_names(mask)} == names & held
    assert {*refused} == (names - held) | {"CAP_OF_TOMORROW"}


@given(names=NAMES)
def test_masks_and_names_are_inverse(names: set[str]) -> None:
    assert {*capability_names(capability_mask(names))} == names
    assert capability_names(1 << 63) == ("CAP_63",)
