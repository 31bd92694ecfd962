# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input is refused while it is parsed, before anything is looked at: by option, value, and what is expected.

Long, because most of it is one flat table: an entry for each thing that an option may not be.
"""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption, InvalidReference
from tests.unit.nouns.module_parameters import validate, wanted

CGROUP = {"name": "shop"}
CONTAINER = {"name": "web", "image": "site:1", "networks": [{"name": "frontend"}]}
IMAGE = {"name": "site:1"}
BRIDGE = {"name": "frontend", "subnet": "10.88.0.0/24"}
OVERLAY = {
    "name": "backplane",
    "driver": "overlay",
    "vni": 42,
    "pool": "10.42.0.0/16",
    "subnet": "10.42.1.0/24",
    "address": "192.0.2.11",
}
EXPORT = {"state": "exported", "path": "/srv/x.tar", "names": ["a:1"]}
LOAD = {"state": "loaded", "path": "/srv/x.tar"}
BASES = {
    "export": EXPORT,
    "load": LOAD,
    "cgroup": CGROUP,
    "container": CONTAINER,
    "image": IMAGE,
    "bridge": BRIDGE,
    "overlay": OVERLAY,
}
LONG = "a" * 300
NAME = "letters, digits"
DIGEST = "a digest after '@'"
INSIDE = "an absolute path inside the container or image, without '..'"


def peer(subnet: str, address: str = "192.0.2.12") -> dict[str, str]:
    return {"subnet": subnet, "address": address}


def file(**entry: Any) -> dict[str, Any]:
    return {"layers": [{"files": [{"path": "/f", **entry}]}]}


# Whose options, the bad one, which option the error names, which value, and a part of what it expects.
BAD: list[tuple[str, dict[str, Any], str, Any, str]] = [
    # Names
    *(("container", {"name": name}, "name", name, NAME) for name in ("", "../x", "a/b", ".hidden", "-x", "a b", "ä")),
    *(("bridge", {"name": name}, "name", name, NAME) for name in ("", "../x", "a/b")),
    *(("cgroup", {"name": name}, "name", name, NAME) for name in ("", "/", "../x", "a/../b", "a//b", "/a", "a/")),
    *((noun, {"name": LONG}, "name", LONG[:77] + "...", "1 to 63") for noun in ("container", "bridge", "cgroup")),
    ("cgroup", {"name": "memory.max"}, "name", "memory.max", "neither the kernel nor systemd"),
    ("cgroup", {"name": "shop/web.scope"}, "name", "shop/web.scope", "neither the kernel nor systemd"),
    ("container", {"cgroup_parent": "../x"}, "cgroup_parent", "../x", NAME),
    ("container", {"networks": [{"name": "../x"}]}, "networks[0]: name", "../x", NAME),
    ("container", {"networks": [{"name": "n", "aliases": ["a b"]}]}, "networks[0]: aliases", "a b", NAME),
    ("container", {"networks": [{"name": "n"}, {"name": "n"}]}, "networks[1]: name", "n", "each network once"),
    # Archives
    ("export", {"path": "x.tar"}, "path", "x.tar", "an absolute path"),
    ("load", {"path": "x.tar"}, "path", "x.tar", "an absolute path"),
    ("export", {"names": []}, "names", [], "the names of the images"),
    ("export", {"names": ["A:1"]}, "names", "A:1", "lower case"),
    ("load", {"names": ["a@sha256:1"]}, "names", "a@sha256:1", DIGEST),
    ("export", {"format": "oci-dir", "compression": "gzip"}, "compression", "gzip", "is a directory"),
    (
        "export",
        {"format": "docker-archive", "names": ["a@sha256:" + "0" * 64]},
        "names",
        "docker.io/library/a@sha256:" + "0" * 64,
        "a tag alone",
    ),
    ("load", {"format": "oci-archive"}, "format", "oci-archive", "tells its own"),
    ("load", {"compression": "none"}, "compression", "none", "tells its own"),
    # Host names
    ("container", {"hostname": "a b"}, "hostname", "a b", "1 to 64 letters"),
    ("container", {"hostname": "-a"}, "hostname", "-a", "1 to 64 letters"),
    ("container", {"hostname": "a" * 65}, "hostname", "a" * 65, "1 to 64 letters"),
    ("container", {"etc_hosts": {"db\n6.6.6.6 bank": "10.0.0.1"}}, "etc_hosts", "db\n6.6.6.6 bank", "letters, digits"),
    ("container", {"etc_hosts": {"db": "10.0.0"}}, "etc_hosts: db", "10.0.0", "an IPv4 or IPv6 address"),
    ("overlay", {"names": {"a b": "10.42.1.2"}}, "names", "a b", "letters, digits"),
    ("overlay", {"names": {"db": "nowhere"}}, "names: db", "nowhere", "an IPv4 address"),
    # Images
    *(("image", {"name": name}, "name", name, "lower case") for name in ("", "UPPER", "a//b", "a/../x", "a b")),
    ("image", {"name": "../x"}, "name", "../x", "a registry that is a host name"),
    ("image", {"name": "a:"}, "name", "a:", "a tag of 1 to 128"),
    ("image", {"name": "a:b c"}, "name", "a:b c", "a tag of 1 to 128"),
    ("image", {"name": "a@sha256:12"}, "name", "a@sha256:12", DIGEST),
    ("image", {"name": "a@md5:" + "0" * 32}, "name", "a@md5:" + "0" * 32, DIGEST),
    ("image", {"name": "a@sha256:" + "G" * 64}, "name", "a@sha256:" + "G" * 64, DIGEST),
    ("image", {"name": LONG}, "name", LONG[:117] + "...", "at most 255 characters"),
    ("image", {"base": "a b"}, "base", "a b", "lower case"),
    ("container", {"image": "a b"}, "image", "a b", "lower case"),
    (
        "image",
        {"name": "a@sha256:" + "0" * 64, "base": "b"},
        "name",
        "a@sha256:" + "0" * 64,
        "a name with a tag",
    ),
    ("image", {"config": {"user": "www"}}, "config", None, "unless base or layers"),
    ("image", {"base": "b", "config": {"stop_signal": "SIGNOPE"}}, "config: stop_signal", "SIGNOPE", "SIGTERM"),
    ("image", {"base": "b", "config": {"working_dir": "www"}}, "config: working_dir", "www", INSIDE),
    ("image", {"base": "b", "config": {"exposed_ports": ["http"]}}, "config: exposed_ports", "http", "80 or 53/udp"),
    ("image", {"base": "b", "config": {"exposed_ports": ["0"]}}, "config: exposed_ports", "0", "from 1 to 65535"),
    # Files of a layer
    ("image", {"layers": [{"src": "site"}]}, "layers[0]: src", "site", "an absolute path on the host"),
    ("image", {"layers": [{"src": "/s", "dest": "../x"}]}, "layers[0]: dest", "../x", INSIDE),
    ("image", file(path="etc/passwd"), "layers[0]: files[0]: path", "etc/passwd", INSIDE),
    ("image", file(path="/a/../../etc"), "layers[0]: files[0]: path", "/a/../../etc", INSIDE),
    ("image", file(content="x", target="/y"), "layers[0]: files[0]: target", "/y", "not both"),
    *(
        ("image", file(mode=mode), "layers[0]: files[0]: mode", mode, "octal permission bits")
        for mode in ("rwx", "0888", "420", "755", "-0644", "00000644", "0o644")
    ),
    ("image", file(uid=-1), "layers[0]: files[0]: uid", -1, "from 0 to"),
    ("image", file(gid=2**32), "layers[0]: files[0]: gid", 2**32, "from 0 to"),
    # Sizes, CPUs and counts
    *(
        ("cgroup", {"memory": size}, "memory", size, "a size such as 64M")
        for size in ("", "lots", "64Q", "-5", "64M128K", "1K", "0", "64Mb", "nan", "inf", "0x10")
    ),
    ("container", {"memory": "lots"}, "memory", "lots", "a size such as 64M"),
    ("cgroup", {"memory_reservation": "lots"}, "memory_reservation", "lots", "a size such as 64M"),
    ("cgroup", {"memory": "64M", "memory_swap": "32M"}, "memory_swap", "32M", "at least memory"),
    ("cgroup", {"memory_swap": "32M"}, "memory_swap", "32M", "which must be set"),
    *(
        ("cgroup", {"cpus": cpus}, "cpus", cpus, "a number of CPUs from 0.01")
        for cpus in ("", "two", "0", "-0.5", "0.001", "nan", "inf", "1,5", "1e9")
    ),
    *(("cgroup", {"cpu_weight": weight}, "cpu_weight", weight, "1 to 10000") for weight in (0, -1, 10001)),
    *(
        ("cgroup", {"pids_limit": count}, "pids_limit", count, "a number from 1")
        for count in ("", "0", "-5", "1.5", "many", "٣")
    ),
    *(
        ("cgroup", {"cpuset_cpus": cpus}, "cpuset_cpus", cpus, "such as 0-3,8")
        for cpus in ("a", "0-", "-1", "3-1", "0,,1", "0-3-5", "1 2", "999999", "٣")
    ),
    ("cgroup", {"cpuset_mems": "x"}, "cpuset_mems", "x", "such as 0-3,8"),
    # Networks
    ("bridge", {"subnet": None}, "subnet", None, "this host's part of the network"),
    ("bridge", {"subnet": "10.88.0.7/24"}, "subnet", "10.88.0.7/24", "first address before the slash: 10.88.0.0/24"),
    *(
        ("bridge", {"subnet": subnet}, "subnet", subnet, "an IPv4 subnet such as 10.42.1.0/24")
        for subnet in ("10.88.0.0", "10.88.0/24", "10.88.0.0/33", "10.88.0.0/31", "fd00::/64", "x/24")
    ),
    ("bridge", {"subnet": "127.0.0.0/24"}, "subnet", "127.0.0.0/24", "unicast"),
    ("bridge", {"gateway": "10.99.0.1"}, "gateway", "10.99.0.1", "an address of 10.88.0.0/24"),
    ("bridge", {"gateway": "10.88.0.255"}, "gateway", "10.88.0.255", "an address of 10.88.0.0/24"),
    ("bridge", {"mtu": 10}, "mtu", 10, "a whole number from 576"),
    ("bridge", {"vni": 7}, "vni", 7, "only driver overlay uses it"),
    ("bridge", {"pool": "10.88.0.0/16"}, "pool", "10.88.0.0/16", "only driver overlay uses it"),
    ("bridge", {"device": "eth0"}, "device", "eth0", "only driver overlay uses it"),
    ("overlay", {"vni": 0}, "vni", 0, "from 1 to 16777215"),
    ("overlay", {"vni": 2**24}, "vni", 2**24, "from 1 to 16777215"),
    ("overlay", {"port": 65536}, "port", 65536, "from 1 to 65535"),
    ("overlay", {"address": "192.0.2"}, "address", "192.0.2", "an IPv4 address"),
    ("overlay", {"address": "224.0.0.1"}, "address", "224.0.0.1", "unicast"),
    ("overlay", {"subnet": "10.43.1.0/24"}, "subnet", "10.43.1.0/24", "a part of pool 10.42.0.0/16"),
    ("overlay", {"subnet": "10.0.0.0/8"}, "subnet", "10.0.0.0/8", "a part of pool 10.42.0.0/16"),
    ("overlay", {"peers": [peer("10.42.2.9/24")]}, "peers[0]: subnet", "10.42.2.9/24", "first address"),
    ("overlay", {"peers": [peer("10.43.2.0/24")]}, "peers[0]: subnet", "10.43.2.0/24", "a part of pool"),
    ("overlay", {"peers": [peer("10.42.2.0/24", "x")]}, "peers[0]: address", "x", "an IPv4 address"),
    (
        "overlay",
        {"peers": [peer("10.42.1.128/25")]},
        "peers[0]: subnet",
        "10.42.1.128/25",
        "does not overlap 10.42.1.0/24 (this host's own)",
    ),
    (
        "overlay",
        {"peers": [peer("10.42.2.0/24"), peer("10.42.9.0/24"), peer("10.42.0.0/18")]},
        "peers[2]: subnet",
        "10.42.0.0/18",
        "does not overlap 10.42.1.0/24 (this host's own)",
    ),
    (
        "overlay",
        {"peers": [peer("10.42.8.0/22"), peer("10.42.2.0/24"), peer("10.42.9.0/24")]},
        "peers[2]: subnet",
        "10.42.9.0/24",
        "does not overlap 10.42.8.0/22 (peers[0])",
    ),
    ("container", {"networks": [{"name": "n", "ipv4_address": "10.0"}]}, "networks[0]: ipv4_address", "10.0", "IPv4"),
    # Ports
    *(
        ("container", {"published_ports": [port]}, "published_ports", port, "such as 8080:80")
        for port in ("80", "80:", ":80", "0:80", "80:0", "65536:80", "a:b", "8080:80/icmp", "8080:80/", "1-3:1-2")
    ),
    ("container", {"published_ports": ["80:80"], "networks": []}, "published_ports", ["80:80"], "one of the networks"),
    ("container", {"published_ports": ["3-1:3-1"]}, "published_ports", "3-1:3-1", "such as 8080:80"),
    ("container", {"published_ports": ["10.0:80:80"]}, "published_ports", "10.0", "0.0.0.0 for all of them"),
    # Paths
    *(
        ("container", {"volumes": [volume]}, "volumes", volume, "/path/on/host:/path/in/container")
        for volume in ("data:/data", "/data", "/a:b", "/a:/b:rw,Z", "/a:/", "/a:/b/../../c", "/a/../b:/c", "", "/a:/b:")
    ),
    ("container", {"tmpfs": ["run"]}, "tmpfs", "run", INSIDE),
    ("container", {"tmpfs": ["/run/../etc"]}, "tmpfs", "/run/../etc", INSIDE),
    ("container", {"working_dir": "srv"}, "working_dir", "srv", INSIDE),
    # The process
    *(
        ("container", {"stop_signal": name}, "stop_signal", name, "SIGTERM, TERM or 15")
        for name in ("", "SIGNOPE", "0", "99", "-1", "TERM ")
    ),
    ("container", {"stop_timeout": -1}, "stop_timeout", -1, "seconds, from 0"),
    ("container", {"command": "echo 'open"}, "command", "echo 'open", "balanced quotes"),
    ("container", {"command": {"a": 1}}, "command", {"a": 1}, "a string or a list of strings"),
    ("container", {"entrypoint": ["sh", None]}, "entrypoint", ["sh", None], "a string or a list of strings"),
    ("container", {"entrypoint": ["a\0b"]}, "entrypoint", ["a\0b"], "a string or a list of strings"),
    ("container", {"env": {"A=B": "c"}}, "env", "A=B", "without '='"),
    ("container", {"env": {"A": ["b"]}}, "env: A", ["b"], "a string"),
    ("container", {"labels": {"A": None}}, "labels: A", None, "a string"),
    *(("container", {"groups": [group]}, "groups", group, "its number") for group in ("", "a:b", "a\n", "4294967295")),
    ("container", {"oom_score_adj": 1001}, "oom_score_adj", 1001, "from -1000 to 1000"),
    # What it may do and see
    *(
        ("container", {"security_opts": [option]}, "security_opts", option, "no-new-privileges[:true|false]")
        for option in (
            *("", "nonsense", "no-new-privileges:perhaps", "seccomp", "seccomp=", "seccomp=profile.json", "apparmor="),
            *("label=colour:red", "label=", "systempaths=confined", "mask=", "privileged"),
        )
    ),
    ("container", {"security_opts": ["mask=proc"]}, "security_opts", "proc", INSIDE),
    ("container", {"security_opts": ["unmask=/proc:/../x"]}, "security_opts", "/../x", INSIDE),
    (
        "container",
        {"security_opts": ["label=disable", "label=type:x_t"]},
        "security_opts",
        ["disable", "type:x_t"],
        "alone",
    ),
    (
        "container",
        {"security_opts": ["no-new-privileges"], "no_new_privileges": False},
        "no_new_privileges",
        False,
        "what security_opts says",
    ),
    # Ids and namespaces
    ("container", {"userns": "map"}, "uidmap", None, "container:host:how many"),
    ("container", {"uidmap": ["0:1:1"]}, "uidmap", ["0:1:1"], "unless userns is map"),
    ("container", {"gidmap": ["0:1:1"], "userns": "auto"}, "gidmap", ["0:1:1"], "unless userns is map"),
    *(
        ("container", {"userns": "map", "uidmap": [ids]}, "uidmap", ids, "such as 0:200000:65536")
        for ids in ("", "0:1", "0:1:1:1", "a:b:c", "0:-1:1", "0:1:0", "0:4294967294:2", "0:٣:1", "0:99999999999:1")
    ),
    ("container", {"userns": "map", "uidmap": ["0:5:9", "8:20:1"]}, "uidmap", "8:20:1", "each id once"),
    ("container", {"userns": "map", "uidmap": ["0:5:9", "20:13:1"]}, "uidmap", "20:13:1", "each id once"),
    ("container", {"userns": "map", "uidmap": ["1:5:9"]}, "uidmap", ["1:5:9"], "container's root"),
    ("container", {"userns": "auto", "pid_mode": "host"}, "pid_mode", "host", "private with userns: auto"),
    ("container", {"userns": "auto", "ipc_mode": "host"}, "ipc_mode", "host", "private with userns: auto"),
    (
        "container",
        {"userns": "map", "uidmap": ["0:5:9"], "ipc_mode": "container:db"},
        "ipc_mode",
        "container:db",
        "over an",
    ),
    *(
        ("container", {option: mode}, option, mode, "private, host, or container: and the name of a container")
        for option in ("pid_mode", "ipc_mode")
        for mode in ("", "shareable", "Host", "container", "host:db")
    ),
    *(
        (
            "container",
            {"network_mode": mode},
            "network_mode",
            mode,
            "private, or container: and the name of a container",
        )
        for mode in ("", "host", "none", "bridge", "container")
    ),
    (
        "container",
        {"network_mode": "container:db", "networks": [{"name": "lan"}]},
        "networks",
        ["lan"],
        "nothing with network_mode: container:db",
    ),
    (
        "container",
        {"network_mode": "container:db", "etc_hosts": {"a": "192.0.2.1"}, "networks": None, "published_ports": None},
        "etc_hosts",
        {"a": "192.0.2.1"},
        "nothing with network_mode: container:db",
    ),
    (
        "container",
        {"network_mode": "container:db", "sysctls": {"net.core.somaxconn": 1}},
        "sysctls",
        "net.core.somaxconn",
        "nothing of the network namespace, which is another container's here",
    ),
    ("container", {"pid_mode": "container:"}, "pid_mode", "", "letters, digits"),
    ("container", {"ipc_mode": "container:a/b"}, "ipc_mode", "a/b", "letters, digits"),
    ("container", {"name": "web", "pid_mode": "container:web"}, "pid_mode", "container:web", "another container"),
    ("container", {"uts": "host", "hostname": "web"}, "hostname", "web", "nothing with uts: host"),
    ("container", {"init": True, "pid_mode": "host"}, "init", True, "false with pid_mode: host"),
    ("container", {"init": True, "pid_mode": "container:db"}, "init", True, "where process 1 is another container's"),
    # Devices, limits and settings
    *(
        ("container", {"devices": [device]}, "devices", device, "/dev/on_host[:/dev/in_container][:rwm]")
        for device in (
            "",
            "fuse",
            "/dev/fuse:",
            "/dev/fuse:x",
            "/dev/fuse:/a:/b",
            "/dev/fuse:/a:rwx",
            "/:/x",
            "/a:/a:rr",
        )
    ),
    ("container", {"devices": ["/dev/../x"]}, "devices", "/dev/../x", INSIDE),
    ("container", {"devices": ["/dev/a:/dev/x", "/dev/b:/dev/x"]}, "devices", "/dev/b:/dev/x", "/dev/x once"),
    *(
        ("container", {"device_cgroup_rules": [rule]}, "device_cgroup_rules", rule, "such as 'c 42:* rwm'")
        for rule in ("", "c 42", "c 42:1", "d 42:1 r", "c 42:1 ", "c -1:1 r", "c 42:1 rx", "c  42:1 r", "c 42:1 r\n")
    ),
    ("container", {"shm_size": "1K"}, "shm_size", "1K", "at least 4096 bytes"),
    ("container", {"shm_size": "unlimited"}, "shm_size", "unlimited", "such as 64M"),
    ("container", {"shm_size": "1M", "ipc_mode": "host"}, "shm_size", "1M", "nothing with ipc_mode: host"),
    ("container", {"shm_size": "1M", "ipc_mode": "container:db"}, "shm_size", "1M", "is another container's"),
    *(
        ("container", {"ulimits": [ulimit]}, "ulimits", ulimit, "name:soft[:hard]")
        for ulimit in ("", "nofile", "files:1", "nofile:", "nofile:a", "nofile:1:2:3", "nofile:1:-2", "RLIMIT_NOFILE:1")
    ),
    ("container", {"ulimits": ["nofile:2:1"]}, "ulimits", "nofile:2:1", "at most the hard one, 1"),
    ("container", {"ulimits": ["nofile:-1:1"]}, "ulimits", "nofile:-1:1", "at most the hard one, 1"),
    ("container", {"ulimits": ["core:1", "core:2"]}, "ulimits", "core:2", "core once"),
    *(
        ("container", {"sysctls": {name: 1}}, "sysctls", name, "the whole host's")
        for name in ("kernel.panic", "vm.swappiness", "net..x", "net", "kernel.hostname", "../x", "net/../vm")
    ),
    (
        "container",
        {"sysctls": {"kernel.shmmax": 1}, "ipc_mode": "host"},
        "sysctls",
        "kernel.shmmax",
        "is the host's here",
    ),
    (
        "container",
        {"sysctls": {"kernel.shmmax": 1}, "ipc_mode": "container:db"},
        "sysctls",
        "kernel.shmmax",
        "is another container's here",
    ),
    ("container", {"sysctls": {"net.a": "1\n2"}}, "sysctls: net.a", "1\n2", "one line"),
]


@pytest.mark.parametrize(("noun", "given", "option", "value", "expected"), BAD)
def test_bad_input(noun: str, given: dict[str, Any], option: str, value: Any, expected: str) -> None:
    module = {"bridge": "network", "overlay": "network", "export": "image_archive", "load": "image_archive"}.get(
        noun, noun
    )
    with pytest.raises(InvalidOption) as caught:
        wanted(module, **{**BASES[noun], **given})
    error = caught.value
    assert error.option == option
    assert expected in error.expected
    if option != "config":  # a dict with Ansible's defaults for whatever was not given
        assert error.value == value
    assert str(error) == f"{option}: {error.value!r} is not valid; expected {error.expected}"


def test_a_malformed_image_name_is_an_error_of_its_own_kind() -> None:
    with pytest.raises(InvalidReference):
        wanted("image", name="a b")


def test_an_error_in_a_list_names_the_entry_too() -> None:
    with pytest.raises(InvalidOption) as caught:
        wanted("containers", containers=[CONTAINER, {**CONTAINER, "name": "db", "memory": "lots"}])
    assert caught.value.option == "containers[1]: memory"
    with pytest.raises(InvalidReference) as caught:
        wanted("containers", containers=[{**CONTAINER, "image": "a b"}])
    assert caught.value.option == "containers[0]: image"


def test_a_list_has_each_name_once() -> None:
    with pytest.raises(InvalidOption) as caught:
        wanted("containers", containers=[CONTAINER, CONTAINER])
    assert (caught.value.option, caught.value.value) == ("containers[1]: name", "web")


def test_the_commands_directory_is_absolute() -> None:
    with pytest.raises(InvalidOption, match="directory: 'bin' is not valid; expected an absolute path"):
        wanted("host", directory="bin")


@pytest.mark.parametrize(
    ("module", "arguments", "complaint"),
    [
        ("container", {"name": "web"}, "image"),
        ("containers", {"containers": [{"name": "web"}]}, "image"),
        ("network", {"name": "n", "driver": "overlay", "subnet": "10.42.1.0/24"}, "vni, address, pool"),
        ("image", {"name": "a", "layers": [{}]}, "one of the following is required: src, files"),
        ("image", {"name": "a", "layers": [{"src": "/a", "files": []}]}, "mutually exclusive: src|files"),
        ("cgroup", {"name": "a", "memry": "1M"}, "memry. Supported parameters include"),
        ("container", {"name": "web", "image": "a", "state": "running"}, "started, present, stopped, absent"),
    ],
)
def test_what_ansible_itself_refuses(module: str, arguments: dict[str, Any], complaint: str) -> None:
    _parameters, complaints = validate(module, arguments)
    assert complaint in " ".join(complaints)
