from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.addressing import (
    contains,
    default_gateway,
    overlaps,
    parse_address,
    parse_address_in,
    parse_host_ip,
    parse_mtu,
    parse_port,
    parse_subnet,
    parse_vni,
    subnet_key,
)


@pytest.mark.parametrize("value", ["10.42.1.0/24", "10.0.0.0/8", "192.0.2.0/30", "100.64.0.0/10"])
def test_subnets_that_are_fine(value):
    assert parse_subnet("subnet", value) == value


@pytest.mark.parametrize(
    "value",
    ["", "10.42.1.0", "10.42.1.0/", "10.42.1.0/33", "10.42.1.0/31", "10.0.0.0/7", "10.42.1.5/24", "fd00::/64",
     "224.0.0.0/24", "127.0.0.0/24", "0.0.0.0/8", "10.42.1.0/24/1", "10.42.1/24", "10.42.1.0/-1", "../x"],
)  # fmt: skip
def test_subnets_that_are_not(value):
    with pytest.raises(InvalidOption) as caught:
        parse_subnet("subnet", value)
    assert caught.value.option == "subnet"
    assert repr(value) in str(caught.value)


def test_a_subnet_with_host_bits_is_told_the_right_one():
    with pytest.raises(InvalidOption, match=r"10\.42\.1\.0/24$"):
        parse_subnet("subnet", "10.42.1.7/24")


@pytest.mark.parametrize("value", ["", "10.42.1", "10.42.1.256", "::1", "127.0.0.1", "224.0.0.1", "0.0.0.0", "web"])
def test_addresses_that_are_none(value):
    with pytest.raises(InvalidOption, match=r"^address: "):
        parse_address("address", value)


@pytest.mark.parametrize("value", ["10.42.1.0", "10.42.1.255", "10.42.2.1"])
def test_an_address_must_be_one_that_a_machine_can_have(value):
    with pytest.raises(InvalidOption, match=r"from 10\.42\.1\.1 to 10\.42\.1\.254"):
        parse_address_in("address", value, "10.42.1.0/24")
    assert parse_address_in("address", "10.42.1.9", "10.42.1.0/24") == "10.42.1.9"


def test_ports_can_be_published_on_all_addresses_and_on_the_loopback():
    assert parse_host_ip("ports", "0.0.0.0") == "0.0.0.0"
    assert parse_host_ip("ports", "127.0.0.1") == "127.0.0.1"
    for value in ("224.0.0.1", "255.255.255.255", "localhost"):
        with pytest.raises(InvalidOption):
            parse_host_ip("ports", value)


@pytest.mark.parametrize(
    ("parse", "good", "bad"),
    [
        (parse_vni, [1, 42, 16777215], [0, -1, 16777216, True, "42"]),
        (parse_mtu, [576, 1450, 65535], [0, 575, 65536]),
        (parse_port, [1, 4789, 65535], [0, 65536]),
    ],
)
def test_numbers(parse, good, bad):
    for value in good:
        assert parse("option", value) == value
    for value in bad:
        with pytest.raises(InvalidOption, match=r"^option: "):
            parse("option", value)


def test_subnets_compare_by_their_numbers():
    assert overlaps("10.42.0.0/16", "10.42.9.0/24")
    assert not overlaps("10.42.0.0/24", "10.42.1.0/24")
    assert contains("10.42.0.0/16", "10.42.9.0/24")
    assert not contains("10.42.9.0/24", "10.42.0.0/16")
    assert sorted(["10.42.10.0/24", "10.42.9.0/24"], key=subnet_key) == ["10.42.9.0/24", "10.42.10.0/24"]
    assert default_gateway("10.42.1.0/24") == "10.42.1.1"
