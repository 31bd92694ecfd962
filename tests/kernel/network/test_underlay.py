"""The underlay that options mean on a host."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.network.underlay import Underlay, observe_underlay
from tests.kernel.network.conftest import Failed


def test_it_is_found_by_address_by_device_and_by_the_default_route(host):
    host.sh("ip link add eth1 type bridge && ip link set eth1 mtu 9000 up && ip addr add 203.0.113.1/24 dev eth1")
    assert host.call(observe_underlay) == Underlay("192.0.2.1", "eth0", 1500)
    assert host.call(observe_underlay, "203.0.113.1") == Underlay("203.0.113.1", "eth1", 9000)
    assert host.call(observe_underlay, "", "eth1") == Underlay("203.0.113.1", "eth1", 9000)


def test_faults_are_told(host):
    with pytest.raises(Failed, match=r"InvalidOption: address: '192\.0\.2\.7'"):
        host.call(observe_underlay, "192.0.2.7")
    with pytest.raises(Failed, match=r"InvalidOption: device: 'eth9'"):
        host.call(observe_underlay, "", "eth9")
    with pytest.raises(Failed, match=r"InvalidOption: device: 'far'"):
        host.call(observe_underlay, "", "far")
    host.sh("ip route del default")
    with pytest.raises(Failed, match="NotFound: route 'default'"):
        host.call(observe_underlay)
