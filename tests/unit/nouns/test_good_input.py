# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Good input becomes the model: units are the kernel's, names are whole, defaults are what the documentation says."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.container import ContainerNoun
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import UNLIMITED, Cgroup, Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import (
    Attachment,
    Container,
    ContainerState,
    Device,
    Namespaces,
    Port,
    Security,
    Ulimit,
    Volume,
    WantedContainer,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.engine import Engine
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import (
    Entry,
    Image,
    ImageConfig,
    LayerSource,
    Recipe,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Network, Peer, Vxlan
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from tests.unit.nouns.module_parameters import wanted

MIB = 2**20
SITE = "docker.io/library/site:1"


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, Limits()),
        ({"memory": "64M"}, Limits(memory=64 * MIB)),
        ({"memory": "1.5G", "memory_swap": "2G"}, Limits(memory=1536 * MIB, memory_swap=2048 * MIB)),
        ({"memory": "unlimited"}, Limits(memory=UNLIMITED)),
        ({"memory": "max", "memory_swap": "-1"}, Limits(memory=UNLIMITED, memory_swap=UNLIMITED)),
        ({"memory": 67108865}, Limits(memory=64 * MIB)),  # whole pages, as the kernel keeps it
        ({"memory_reservation": "32M"}, Limits(memory_reservation=32 * MIB)),
        ({"cpus": "0.5"}, Limits(cpu_quota=50_000)),
        ({"cpus": 2}, Limits(cpu_quota=200_000)),
        ({"cpus": "0.01"}, Limits(cpu_quota=1_000)),
        ({"cpus": "unlimited", "pids_limit": -1}, Limits(cpu_quota=UNLIMITED, pids=UNLIMITED)),
        ({"cpu_weight": 10_000, "pids_limit": 1}, Limits(cpu_weight=10_000, pids=1)),
        ({"cpuset_cpus": "1,0,3-4", "cpuset_mems": "0"}, Limits(cpuset_cpus="0-1,3-4", cpuset_mems="0")),
    ],
)
def test_limits(given: dict[str, Any], limits: Limits) -> None:
    assert wanted("cgroup", name="shop/frontend", **given) == Cgroup("shop/frontend", limits)
    assert wanted("container", name="web", image="site:1", **given).container.limits == limits


@pytest.mark.parametrize("name", ["a", "0", "A-b_c.d", "a" * 63])
def test_names(name: str) -> None:
    assert wanted("container", name=name, image="site:1").container.name == name
    assert wanted("network", name=name, subnet="10.88.0.0/24").name == name
    assert wanted("cgroup", name=f"{name}/{name}").path == f"{name}/{name}"


def test_the_least_container() -> None:
    assert wanted("container", name="web", image="site:1") == WantedContainer(Container("web", SITE))


def test_a_container_with_everything() -> None:
    found = wanted(
        "container",
        name="web",
        image="site:1",
        state="stopped",
        command="httpd -f -h '/my www'",
        entrypoint=["tini", "--", 1],
        env={"PORT": 80, "DEBUG": True, "A": "1=2"},
        working_dir="//srv/./www/",
        user="www:www",
        hostname="web.example.com",
        networks=[{"name": "backplane", "ipv4_address": "10.42.1.10", "aliases": ["www"]}, {"name": "frontend"}],
        published_ports=["8080:80", "127.0.0.1:5300-5301:53-54/udp"],
        volumes=["/srv/data:/data", "/etc/x//y:/etc/x:ro", "/a:/b:rw"],
        tmpfs=["/run", "/tmp/"],
        cgroup_parent="shop/frontend",
        labels={"tier": "front"},
        etc_hosts={"db": "10.0.0.7", "six": "FD00::1", "self": "127.0.0.1"},
        cap_add=["net_admin", "all"],
        cap_drop=["CAP_CHOWN"],
        no_new_privileges=False,
        privileged=True,
        read_only=True,
        runtime="runc",
        stop_signal="15",
        stop_timeout=0,
        restart=True,
        recreate=True,
    )
    assert found == WantedContainer(
        Container(
            "web",
            SITE,
            running=False,
            hostname="web.example.com",
            networks=(Attachment("backplane", "10.42.1.10", ("www",)), Attachment("frontend")),
            ports=(Port(8080, 80), Port(5300, 53, "udp", "127.0.0.1"), Port(5301, 54, "udp", "127.0.0.1")),
            volumes=(Volume("/srv/data", "/data"), Volume("/etc/x/y", "/etc/x", read_only=True), Volume("/a", "/b")),
            tmpfs=("/run", "/tmp"),
            cgroup_parent="shop/frontend",
            labels=(("tier", "front"),),
            extra_hosts=(("db", "10.0.0.7"), ("self", "127.0.0.1"), ("six", "fd00::1")),
            security=Security(
                cap_add=("net_admin", "all"),
                cap_drop=("CAP_CHOWN",),
                no_new_privileges=False,
                read_only=True,
                privileged=True,
            ),
            stop_timeout=0,
            runtime="runc",
        ),
        entrypoint=("tini", "--", "1"),
        command=("httpd", "-f", "-h", "/my www"),
        env=(("A", "1=2"), ("DEBUG", "true"), ("PORT", "80")),
        working_dir="/srv/www",
        user="www:www",
        stop_signal="SIGTERM",
        restart=True,
        recreate=True,
    )


def test_what_a_container_may_do_and_see() -> None:
    found = wanted(
        "container",
        name="web",
        image="site:1",
        groups=["audio", 1234],
        security_opts=[
            *(
                "no-new-privileges:false",
                "seccomp=/etc/web.json",
                "apparmor=web",
                "label=type:web_t",
                "label:level:s0:c1",
            ),
            *("mask=/proc/b:/proc//a", "unmask=/proc/acpi"),
        ],
        userns="map",
        uidmap=["1:300000:10", "0:200000:1"],
        uts="host",
        devices=["/dev/fuse", "/dev/sda:/dev/xvda", "/dev/sdb:r", "/dev/sdc:/dev/xvdc:mr"],
        device_cgroup_rules=["c 42:* rwm", "b 8:0 r"],
        shm_size="1M",
        ulimits=["nofile:1024:4096", "core=0", "memlock:-1", "nproc:5:unlimited"],
        sysctls={"net.core.somaxconn": 1024, "net/ipv4/conf/eth0.1/forwarding": True},
        oom_score_adj=-500,
        init=True,
        volumes=["/a:/b:noidmap,ro"],
    ).container
    assert found == Container(
        "web",
        SITE,
        groups=("audio", "1234"),
        volumes=(Volume("/a", "/b", read_only=True, idmap=False),),
        security=Security(
            no_new_privileges=False,
            seccomp="/etc/web.json",
            apparmor="web",
            label=("level:s0:c1", "type:web_t"),
            mask=("/proc/a", "/proc/b"),
            unmask=("/proc/acpi",),
        ),
        namespaces=Namespaces("map", ((0, 200000, 1), (1, 300000, 10)), ((0, 200000, 1), (1, 300000, 10)), uts="host"),
        devices=(
            Device("/dev/fuse", "/dev/fuse"),
            Device("/dev/sda", "/dev/xvda"),
            Device("/dev/sdb", "/dev/sdb", "r"),
            Device("/dev/sdc", "/dev/xvdc", "rm"),
        ),
        device_cgroup_rules=("c 42:* rwm", "b 8:0 r"),
        shm_size=MIB,
        ulimits=(
            Ulimit("nofile", 1024, 4096),
            Ulimit("core", 0, 0),
            Ulimit("memlock", UNLIMITED, UNLIMITED),
            Ulimit("nproc", 5, UNLIMITED),
        ),
        sysctls=(("net.core.somaxconn", "1024"), ("net/ipv4/conf/eth0.1/forwarding", "1")),
        oom_score_adj=-500,
        init=True,
    )


@pytest.mark.parametrize(
    ("options", "security"),
    [
        (["no-new-privileges"], Security()),
        (["no-new-privileges=false"], Security(no_new_privileges=False)),
        (["seccomp=unconfined"], Security(seccomp="unconfined")),
        (["seccomp=builtin"], Security()),
        (["label=disable"], Security(label=("disable",))),
        (["systempaths=unconfined"], Security(unmask=("ALL",))),
        (["unmask=all", "unmask=/proc/acpi"], Security(unmask=("ALL",))),
    ],
)
def test_security_options(options: list[str], security: Security) -> None:
    assert wanted("container", name="web", image="site:1", security_opts=options).container.security == security


@pytest.mark.parametrize(("state", "running"), [("started", True), ("stopped", False), ("present", None)])
def test_states_of_a_container(state: str, running: bool | None) -> None:
    assert wanted("container", name="web", image="site:1", state=state).container.running is running


@pytest.mark.parametrize("module", ["cgroup", "container", "image", "network", "host"])
def test_absence_needs_no_more_than_the_name(module: str) -> None:
    assert wanted(module, **({} if module == "host" else {"name": "web"}), state="absent") is None


@pytest.mark.parametrize(("given", "name"), [("SIGTERM", "SIGTERM"), ("quit", "SIGQUIT"), ("9", "SIGKILL")])
def test_signals(given: str, name: str) -> None:
    assert wanted("container", name="web", image="site:1", stop_signal=given).stop_signal == name


def test_a_list_of_containers_is_told_by_name_in_order() -> None:
    entries = [{"name": "b", "image": "site:1"}, {"name": "a", "state": "absent"}]
    found = wanted("containers", containers=entries)
    assert list(found) == ["b", "a"]
    assert found == {"b": WantedContainer(Container("b", SITE)), "a": None}


def test_a_bridge() -> None:
    found = wanted("network", name="frontend", subnet="10.88.0.0/24", names={"db": "10.88.0.9"}, masquerade=False)
    assert found == Network(
        "frontend",
        "10.88.0.0/24",
        "10.88.0.1",
        0,  # as the host says
        "10.88.0.0/24",
        names=(("db", "10.88.0.9"),),
        masquerade=False,
    )


OVERLAY = {"name": "backplane", "driver": "overlay", "vni": 42, "address": "192.0.2.11"}


def test_an_overlay() -> None:
    peers = [
        {"name": "c", "subnet": "10.42.3.0/24", "address": "192.0.2.13"},
        {"subnet": "10.42.2.0/24", "address": "192.0.2.12"},
    ]
    given = {"pool": "10.42.0.0/16", "subnet": "10.42.1.0/24", "gateway": "10.42.1.254", "mtu": 1400, "peers": peers}
    assert wanted("network", **OVERLAY, **given) == Network(
        "backplane",
        "10.42.1.0/24",
        "10.42.1.254",
        1400,
        "10.42.0.0/16",
        vxlan=Vxlan(42, "192.0.2.11", 4789),
        peers=(
            Peer("10.42.2.0/24", "192.0.2.12", "0e:53:0a:2a:02:00", "10.42.2.0"),
            Peer("10.42.3.0/24", "192.0.2.13", "0e:53:0a:2a:03:00", "10.42.3.0"),
        ),
    )


def test_a_thousand_peers_take_a_moment() -> None:
    """Not a benchmark: comparing each with each took seconds."""
    peers = [
        {"subnet": f"10.{n // 200 + 1}.{n % 200}.0/24", "address": f"192.0.{n // 200}.{n % 200 + 1}"}
        for n in range(1000)
    ]
    started = time.process_time()
    found = wanted("network", **OVERLAY, pool="10.0.0.0/8", subnet="10.0.0.0/24", peers=peers)
    assert len(found.peers) == 1000
    assert time.process_time() - started < 1


def test_a_pulled_image() -> None:
    digest = "sha256:" + "0" * 64
    assert wanted("image", name="site:1") == Image(SITE)
    assert wanted("image", name=f"reg.example.com:5000/a/b@{digest}", insecure=True) == Image(
        f"reg.example.com:5000/a/b@{digest}", access=Access(insecure=True)
    )


def test_an_assembled_image() -> None:
    files = [
        {"path": "/www/index.html", "content": "héllo"},
        {"path": "/bin/sh", "target": "busybox"},
        {"path": "/var//tmp", "mode": "01777", "uid": 1, "gid": 2},
    ]
    config = {
        "command": ["httpd"],
        "entrypoint": "tini --",
        "env": {"A": 1},
        "working_dir": "/www",
        "user": "www",
        "stop_signal": "QUIT",
        "labels": {"b": "c"},
        "exposed_ports": ["80", "53/udp"],
    }
    found = wanted(
        "image", name="site:1", base="busybox", layers=[{"files": files}, {"src": "/s", "dest": "/d/"}], config=config
    )
    assert found == Image(
        SITE,
        recipe=Recipe(
            base="docker.io/library/busybox:latest",
            layers=(
                LayerSource(
                    entries=(
                        Entry("/www/index.html", content="héllo".encode(), mode=0o644),
                        Entry("/bin/sh", target="busybox", mode=0o755),
                        Entry("/var/tmp", mode=0o1777, uid=1, gid=2),
                    )
                ),
                LayerSource(path="/s", dest="/d"),
            ),
            config=ImageConfig(
                entrypoint=("tini", "--"),
                command=("httpd",),
                env=(("A", "1"),),
                working_dir="/www",
                user="www",
                stop_signal="SIGQUIT",
                labels=(("b", "c"),),
                exposed_ports=("80", "53/udp"),
            ),
        ),
    )


def test_an_image_may_have_an_empty_command() -> None:
    """Image-spec and podman allow it: it is an argument of the entrypoint that a container has."""
    found = wanted("image", name="site:1", base="busybox", config={"command": [""]})
    assert found.recipe.config.command == ("",)


def test_an_image_may_be_a_base_under_another_name() -> None:
    assert wanted("image", name="site:1", base="busybox").recipe == Recipe(base="docker.io/library/busybox:latest")


def test_the_engine() -> None:
    found = wanted("host", directory="/opt/bin")
    assert isinstance(found, Engine)
    assert found.directory == "/opt/bin"
    assert len(found.digest) == 16


def test_results_name_environment_variables_and_hide_their_values() -> None:
    told = ContainerNoun().tell(ContainerState(Container("web", SITE, env=(("TOKEN", "hunter2"),))))
    assert told["env"] == ["TOKEN"]
    assert "hunter2" not in str(told)
