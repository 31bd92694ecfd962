"""kill -9 before every write that makes, changes and removes networks and links: the next run converges."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import netlink
from ansible_collections.stowage.engine.plugins.module_utils._engine.network import attach
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.apply import (
    create_network,
    remove_network,
    update_network,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.attach import observe_attached
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.observe import observe_networks
from tests.kernel.network.test_overlay import overlay

# (file, function) of all that writes: netlink messages one by one, devices, sysctls, the nft table, files. What lies
# between two of these leaves no trace, so that a kill there is a kill before the second.
WRITES = {
    ("netlink.py", "_batch"),
    ("devices.py", "_add_link"),
    ("sysctl.py", "_set"),
    ("nft.py", "apply_ruleset"),
    ("files.py", "write_atomic"),
    ("files.py", "remove_if_exists"),
}


def kill_before(number):
    """End this process by SIGKILL when it is about to do write number ``number``, counted from 1."""
    counted = 0
    netlink.BATCH = 1

    def trace(frame, event, _argument):
        nonlocal counted
        code = frame.f_code
        if event == "call" and (os.path.basename(code.co_filename), code.co_name) in WRITES:
            counted += 1
            if counted == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.settrace(trace)


def killed(host, number, function, *args):
    """Run until write ``number``; True where the kill came before the end."""

    def run():
        kill_before(number)
        function(*args)

    pid = host.start(run)
    host.pids.remove(pid)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def observed(host):
    return host.call(observe_networks, host.paths).get("backplane")


def converge(host, desired):
    """What a run does: look, then make, change or remove."""
    current = observed(host)
    if desired is None:
        if current is not None:
            host.call(remove_network, host.paths, current)
    elif current is None:
        host.call(create_network, host.paths, desired)
    elif current != desired:
        host.call(update_network, host.paths, current, desired)
    assert observed(host) == desired


def test_making_changing_and_removing(host):
    first = overlay()
    second = overlay(peers=((3, "10.42.3.0/24"),), mtu=1400, vxlan=replace(first.vxlan, vni=43))
    before = host.sh("ip link | grep -v link/; nft list ruleset")
    number = 0
    more = True
    while more:
        number += 1
        more = killed(host, number, create_network, host.paths, first)
        converge(host, first)
        more |= killed(host, number, update_network, host.paths, first, second)
        converge(host, second)
        more |= killed(host, number, remove_network, host.paths, second)
        converge(host, None)
        assert os.listdir(host.paths.networks) == [], "a removal that was cut short left its file"
    assert number > 10
    assert host.sh("ip link | grep -v link/; nft list ruleset") == before


def test_attaching(host):
    network = overlay()
    host.call(create_network, host.paths, network)
    number = 0
    more = True
    while more:
        number += 1
        _rest, pid = host.container()

        def join(pid=pid):
            attach.attach(network, container="web", pid=pid, address="10.42.1.5", instance="stowage")

        more = killed(host, number, join)
        host.call(join)
        assert host.call(observe_attached) == {attach.host_link("stowage", "web", "backplane"): "sb-backplane"}
    assert number > 5
