"""Devices of the host that move into a container (linux.netDevices): what they keep, and who gets them back."""

from __future__ import annotations

import json
import subprocess
import uuid

import pytest


class Host:
    """A network namespace that stands for the host's, with two links that nothing else has."""

    def __init__(self, runtime):
        self.name = f"stowage-test-{uuid.uuid4().hex[:8]}"
        self.runtime = runtime

    def lend(self):
        for line in (
            "link add lent0 type veth peer name far0",
            "link set far0 up",
            "link set lent0 mtu 1400 address 0e:53:00:00:00:07 up",
            "addr add 192.0.2.7/24 dev lent0",
            "addr add 198.51.100.7 peer 198.51.100.8/32 dev lent0",
            "addr add 2001:db8::7/64 dev lent0 nodad",
            "addr add 203.0.113.7/24 dev lent0 valid_lft 1000 preferred_lft 500",
            "addr add 10.9.9.9/32 scope link dev lent0",
            "link add lent1 type veth peer name far1",
            "link set far1 up",
        ):
            self.ip(*line.split())

    def ip(self, *words):
        done = subprocess.run(["ip", "-n", self.name, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def links(self):
        return {link["ifname"]: link for link in json.loads(self.ip("-j", "addr"))}

    def addresses(self, name):
        return sorted(
            f"{a['local']}/{a['prefixlen']}" for a in self.links()[name]["addr_info"] if a["scope"] == "global"
        )

    def call(self, *words):
        command = [
            "nsenter",
            f"--net=/run/netns/{self.name}",
            self.runtime.command,
            "--root",
            self.runtime.root,
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    def run(self, devices, *args, change=lambda spec: None):
        def configure(spec):
            spec["linux"]["netDevices"] = devices
            spec["process"]["args"] = list(args)
            change(spec)

        self.runtime.configure(configure)
        return self.call("run", "-b", str(self.runtime.bundle), self.runtime.id)


@pytest.fixture
def host(runtime):
    host = Host(runtime)
    subprocess.run(["ip", "netns", "add", host.name], check=True)
    try:
        host.lend()
        yield host
    finally:
        subprocess.run(["ip", "netns", "del", host.name], check=True)


def test_a_device_keeps_what_is_permanent(host):
    done = host.run({"lent0": {"name": "inside0"}, "lent1": {}}, "ip", "addr")
    assert done.returncode == 0, done.stderr
    lines = {
        line.split(":")[1].strip().partition("@")[0]: line for line in done.stdout.splitlines() if line[:1].isdigit()
    }
    assert set(lines) == {"lo", "inside0", "lent1"}
    assert "mtu 1400" in lines["inside0"] and "UP" in lines["inside0"] and "UP" in lines["lent1"]
    assert "0e:53:00:00:00:07" in done.stdout
    for address in ("192.0.2.7/24", "198.51.100.7 peer 198.51.100.8/32", "2001:db8::7/64"):
        assert address in done.stdout
    for address in ("203.0.113.7", "10.9.9.9"):  # one that expires, and one of the link
        assert address not in done.stdout
    assert "lent0" not in host.links()


def test_templates_count_on(host):
    done = host.run({"lent0": {"name": "eth%d"}, "lent1": {"name": "eth%d"}}, "ip", "-o", "link")
    found = {word.partition("@")[0].rstrip(":") for word in done.stdout.split()}
    assert {"eth0", "eth1"} <= found, done.stderr


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        ({"nowhere": {}}, "linux.netDevices: 'nowhere' is not valid; expected a device"),
        ({"lo": {}}, "linux.netDevices: 'lo' is not valid"),
        ({"lent0": {"name": "a/b"}}, "linux.netDevices.lent0.name: 'a/b' is not valid"),
        ({"lent0": {"name": "sixteen-letters-"}}, "linux.netDevices.lent0.name"),
        ({"lent0": {"name": "eth%d%d"}}, "linux.netDevices.lent0.name"),
        ({"lent0": {"name": "eth%s"}}, "linux.netDevices.lent0.name"),
        ({"lent0": {"name": "same"}, "lent1": {"name": "same"}}, "another name than that of lent0"),
        ({"lent1": {"name": "lo"}}, "there is a device lo in the container already"),
    ],
)
def test_a_device_that_cannot_be_lent(host, devices, told):
    before = host.links()
    done = host.run(devices, "true")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert told in done.stderr
    assert host.links().keys() == before.keys()
    assert host.call("list", "-q").stdout == ""


def test_a_network_namespace_of_its_own_is_needed(host):
    def stay(spec):
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "network"]

    assert "linux.netDevices" in host.run({"lent0": {}}, "true", change=stay).stderr
    assert "lent0" in host.links()


def test_a_container_that_is_not_created_gives_all_back(host):
    before = host.links()
    done = host.run({"lent0": {"name": "inside0"}, "lent1": {"name": "eth%d"}}, "no-such-program")
    assert (done.returncode, "no-such-program" in done.stderr) == (1, True), done.stderr
    after = host.links()
    assert after.keys() == before.keys()
    assert after["lent0"]["flags"] == before["lent0"]["flags"]
    assert ("UP" in after["lent1"]["flags"], after["lent0"]["mtu"]) == (False, 1400)
    assert host.addresses("lent0") == ["192.0.2.7/24", "198.51.100.7/32", "2001:db8::7/64"]


def test_one_that_fails_gives_back_those_before_it(host):
    done = host.run({"lent0": {}, "lent1": {"name": "lo"}}, "true")
    assert done.returncode == 1
    assert host.addresses("lent0") == ["192.0.2.7/24", "198.51.100.7/32", "2001:db8::7/64"]


def test_in_a_joined_namespace_a_device_stays(host):
    other = f"{host.name}-other"
    subprocess.run(["ip", "netns", "add", other], check=True)
    try:

        def join(spec):
            spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "network"]
            spec["linux"]["namespaces"].append({"type": "network", "path": f"/run/netns/{other}"})

        done = host.run({"lent0": {"name": "inside0"}}, "true", change=join)
        assert done.returncode == 0, done.stderr
        told = subprocess.run(["ip", "-n", other, "-o", "addr"], capture_output=True, text=True, check=True).stdout
        assert "inside0" in told and "2001:db8::7/64" in told
    finally:
        subprocess.run(["ip", "netns", "del", other], check=True)
