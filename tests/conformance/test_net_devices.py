# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config-linux.md, Network Devices. The runtime runs in a network namespace of its own, where the devices are made."""

from __future__ import annotations

import pytest

item = pytest.mark.item

MAKE = """
ip link add stowage0 type veth peer name stowage1
ip addr add 192.0.2.5/24 dev stowage0
ip addr add 2001:db8::5/64 dev stowage0 nodad
ip link set stowage0 mtu 1400
"""


def lend(box, devices, *, make=MAKE, after="true"):
    """Have devices in the runtime's namespace, and ``linux.netDevices`` name some of them."""
    script = f'set -e; {make}\n"$@"; code=$?; {after}; exit $code'
    box.wrapper = ["unshare", "-n", "bash", "-c", script, "bash"]
    box.linux["netDevices"] = devices
    box.mount("/sys", "ro", source="sysfs", kind="sysfs")


@item("config-linux/netDevices")
def test_a_device_is_moved(box):
    lend(box, {"stowage0": {}}, after="ip -o link show stowage0 >&2")
    done = box.run("ls", "/sys/class/net")
    assert "stowage0" in done.stdout.split(), done.stderr


@item("config-linux/netDevices/name")
def test_a_device_gets_another_name(box):
    lend(box, {"stowage0": {"name": "inside7"}})
    assert set(box.sh("ls /sys/class/net").split()) >= {"inside7"}


@item("config-linux/netDevices/name/template")
def test_a_template_lets_the_kernel_choose(box):
    lend(box, {"stowage0": {"name": "eth%d"}})
    assert "eth0" in box.sh("ls /sys/class/net").split()


@item("config-linux/netDevices/up")
def test_a_device_is_up_afterwards(box):
    lend(box, {"stowage0": {}})
    assert int(box.sh("cat /sys/class/net/stowage0/flags"), 16) & 1


@item("config-linux/netDevices/addresses")
def test_a_device_keeps_its_permanent_global_addresses(box):
    lend(box, {"stowage0": {"name": "inside7"}})
    said = box.sh("ip addr show dev inside7")
    assert "192.0.2.5/24" in said
    assert "2001:db8::5/64" in said


@item("config-linux/netDevices/attributes")
def test_a_device_keeps_its_attributes(box):
    lend(box, {"stowage0": {}})
    assert box.sh("cat /sys/class/net/stowage0/mtu") == "1400"


@item("config-linux/netDevices/name is taken")
def test_a_name_that_is_taken_is_refused(box):
    lend(box, {"stowage0": {"name": "lo"}})
    assert box.run("true").returncode != 0


@item("config-linux/netDevices/not there")
def test_a_device_that_is_not_there_is_refused(box):
    lend(box, {"stowage7": {}})
    assert box.run("true").returncode != 0


@item("config-linux/netDevices/without a network namespace")
def test_devices_without_a_network_namespace_are_refused(box):
    lend(box, {"stowage0": {}})
    box.without_namespace("network")
    assert box.run("true").returncode != 0


@item("config-linux/netDevices/not moved back")
def test_a_device_is_not_moved_back(box):
    """A virtual one ends with the container's namespace; its peer tells."""
    gone = "for n in $(seq 100); do ip link show stowage1 2>/dev/null || break; sleep 0.05; done; ip -o link >&2"
    lend(box, {"stowage0": {}}, after=gone)
    done = box.run("ls", "/sys/class/net")
    assert "stowage0" in done.stdout.split()
    assert "stowage0" not in done.stderr
