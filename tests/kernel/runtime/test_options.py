"""Docker's options for a container's process, devices, settings and namespaces: each a look from inside or at /proc."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import (
    Device,
    Namespaces,
    Security,
    Ulimit,
)


def run(host, script, **fields):
    code, out, err = host.output("web", "sh", "-c", script, **fields)
    assert (code, err) == (0, "")
    return out.split("\n")[:-1]


def status_of(pid):
    return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def test_a_device_of_the_host_may_be_used_as_it_says(host):
    devices = (Device("/dev/fuse", "/dev/log/fuse", "r"),)
    script = """
        stat -c '%t:%T' /dev/log/fuse
        (: </dev/log/fuse) && echo readable
        (: >/dev/log/fuse) 2>/dev/null || echo not writable
        mknod /tmp/m c 10 229 && echo made
        (: </tmp/m) && echo readable
    """
    assert run(host, script, devices=devices) == ["a:e5", "readable", "not writable", "made", "readable"]
    assert host.output("other", "sh", "-c", "mknod /m c 10 229; : </m")[0] != 0


def test_a_directory_of_devices(host):
    devices = (Device("/dev/net", "/dev/net"),) if os.path.isdir("/dev/net") else (Device("/dev/pts", "/dev/x"),)
    target = devices[0].target
    found = set(run(host, f"ls {target}", devices=devices))
    nodes = {
        name
        for name in os.listdir(devices[0].source)
        if stat.S_ISCHR(os.stat(os.path.join(devices[0].source, name)).st_mode)
    }
    assert found == nodes


def test_a_rule_allows_a_device_that_there_is_no_node_of(host):
    script = "mknod /m c 10 229 && : </m && echo readable"
    assert run(host, script, device_cgroup_rules=("c 10:229 r",)) == ["readable"]


def test_a_privileged_container_has_the_host_s_devices(host):
    host.run("web", "sleep", "60", security=Security(privileged=True))
    inside = f"/proc/{host.state('web').pid}/root/dev"
    own = {"pts", "shm", "fd", "mqueue", "console", "core", "stdin", "stdout", "stderr", "ptmx"}
    nodes = {
        name
        for name in os.listdir("/dev")
        if name not in own and stat.S_IFMT(os.lstat(f"/dev/{name}").st_mode) in (stat.S_IFCHR, stat.S_IFBLK)
    }
    assert nodes <= set(os.listdir(inside))


def test_limits_of_each_process(host):
    ulimits = (Ulimit("nofile", 100, 200), Ulimit("core", 0, 0))
    assert run(host, "ulimit -Sn; ulimit -Hn; ulimit -c", ulimits=ulimits) == ["100", "200", "0"]


def test_settings_of_its_namespaces(host):
    sysctls = (("net.core.somaxconn", "77"), ("kernel.shmmni", "55"), ("net.ipv4.ip_unprivileged_port_start", "80"))
    files = "/proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_unprivileged_port_start"
    assert run(host, f"cat {files}", sysctls=sysctls) == ["77", "55", "80"]


def test_docker_s_settings(host):
    files = "/proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range"
    assert run(host, f"cat {files}") == ["0", "0\t2147483647"]


def test_further_groups_by_number_and_by_name(host):
    assert run(host, "id -G", user="web", groups=("4321", "root")) == ["1000 0 50 4321"]
    host.prepare("other", "true", groups=("nobodys",))
    assert "groups: 'nobodys' is not valid; expected a number, or a name" in host.create("other")[0].error


def test_the_size_of_shared_memory(host):
    assert run(host, "grep ' /dev/shm ' /proc/mounts", shm_size=1 << 20)[0].count("size=1024k") == 1


def test_how_ready_the_kernel_is_to_end_it(host):
    assert run(host, "cat /proc/self/oom_score_adj", oom_score_adj=321) == ["321"]


@pytest.mark.parametrize(
    ("namespaces", "name"),
    [
        (Namespaces(pid_mode="host"), "pid"),
        (Namespaces(ipc_mode="host"), "ipc"),
        (Namespaces(uts="host"), "uts"),
    ],
)
def test_a_namespace_of_the_host(host, namespaces, name):
    pid = host.run("web", "sleep", "60", namespaces=namespaces)
    kinds = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "ipc", "uts", "mnt", "net", "cgroup")}
    assert [kind for kind, link in kinds.items() if link == os.readlink(f"/proc/self/ns/{kind}")] == [name]
    host.stop("web", 0.1)
    assert not host.state("web").running


def test_shared_memory_of_the_host(host):
    path = Path("/dev/shm/stowage-test-options")
    path.write_text("hello")
    try:
        assert run(host, f"cat {path}; echo", namespaces=Namespaces(ipc_mode="host")) == ["hello"]
    finally:
        path.unlink()


def test_what_ends_with_the_container_that_sees_the_host_s_processes(host):
    host.run("web", "sh", "-c", "sleep 61 & sleep 61", namespaces=Namespaces(pid_mode="host"))
    path = host.cgroups.container_path("", "web")
    host.stop("web", 0.1)
    assert host.cgroups.processes(path) == []


def test_a_profile_of_its_own(host, tmp_path):
    profile = tmp_path / "web.json"
    rules = [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
        {"names": ["uname"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_BOOT"]}},
    ]
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    security = Security(seccomp=str(profile))
    assert run(host, "mkdir /x 2>&1 || true; hostname", security=security) == [
        "mkdir: can't create directory '/x': Operation not supported",
        "web",
    ]


def test_no_profile(host):
    pid = host.run("web", "sleep", "60", security=Security(seccomp="unconfined"))
    assert (status_of(pid)["Seccomp"].strip(), status_of(pid)["NoNewPrivs"].strip()) == ("0", "1")


def test_paths_may_be_hidden_and_shown(host):
    security = Security(mask=("/etc/passwd", "/usr"), unmask=("/proc/interrupts", "/proc/sys"))
    script = "wc -c </etc/passwd; ls /usr | wc -l; stat -c %F /proc/interrupts; stat -c %F /proc/keys; "
    script += "echo 88 >/proc/sys/net/core/somaxconn; cat /proc/sys/net/core/somaxconn"
    assert run(host, script, security=security) == ["0", "0", "regular empty file", "character special file", "88"]


def test_all_paths_may_be_shown(host):
    script = "grep -c ' /proc/' /proc/mounts || true; stat -c %F /proc/keys"
    assert run(host, script, security=Security(unmask=("ALL",))) == ["0", "regular empty file"]
