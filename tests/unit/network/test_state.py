from __future__ import annotations

import json

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import StateCorrupt
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Network, Peer, Vxlan
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.state import (
    forget_network,
    load_networks,
    save_network,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

NETWORK = Network(
    name="backplane",
    subnet="10.42.1.0/24",
    gateway="10.42.1.1",
    mtu=1450,
    pool="10.42.0.0/16",
    vxlan=Vxlan(42, "192.0.2.1", 4789, "eth0"),
    peers=(Peer.at("10.42.2.0/24", "192.0.2.2"),),
    names=(("web", "10.42.1.5"),),
)


def test_what_is_saved_is_loaded_and_forgotten(tmp_path):
    paths = Paths(str(tmp_path / "root"), str(tmp_path / "run"))
    assert load_networks(paths) == {}
    save_network(paths, NETWORK)
    assert load_networks(paths) == {"backplane": (NETWORK, False)}
    save_network(paths, NETWORK, removing=True)
    assert load_networks(paths) == {"backplane": (NETWORK, True)}
    forget_network(paths, "backplane")
    forget_network(paths, "backplane")
    assert load_networks(paths) == {}


def test_saving_the_same_again_writes_nothing(tmp_path):
    paths = Paths(str(tmp_path), str(tmp_path / "run"))
    save_network(paths, NETWORK)
    before = (tmp_path / "networks" / "backplane.json").stat()
    save_network(paths, NETWORK)
    assert (tmp_path / "networks" / "backplane.json").stat() == before


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", json.dumps({"name": "x"})])
def test_a_file_that_is_not_ours_is_told(tmp_path, content):
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "x.json").write_text(content)
    with pytest.raises(StateCorrupt, match=r"networks/x\.json: not"):
        load_networks(Paths(str(tmp_path), str(tmp_path / "run")))
