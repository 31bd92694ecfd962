from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Conflict
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.ipam import assign_address


@given(st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=13), st.integers(28, 30))
def test_every_container_gets_its_own_until_the_subnet_is_full(names, prefix):
    subnet = ipaddress.IPv4Network(f"10.42.1.0/{prefix}")
    room = subnet.num_addresses - 3
    taken = set()
    for name in names[:room]:
        address = assign_address(str(subnet), "10.42.1.1", name, taken)
        assert address not in taken
        assert ipaddress.IPv4Address(address) in subnet
        assert address not in ("10.42.1.1", str(subnet.network_address), str(subnet.broadcast_address))
        taken.add(address)


def test_a_name_keeps_its_address_and_steps_aside_only_when_it_is_taken():
    first = assign_address("10.42.1.0/24", "10.42.1.1", "web", ())
    assert assign_address("10.42.1.0/24", "10.42.1.1", "web", {"10.42.1.200"} - {first}) == first
    assert assign_address("10.42.1.0/24", "10.42.1.1", "web", {first}) != first


def test_a_full_subnet_is_told():
    with pytest.raises(Conflict, match=r"10\.42\.1\.0/30 for container 'web'"):
        assign_address("10.42.1.0/30", "10.42.1.1", "web", {"10.42.1.2"})
