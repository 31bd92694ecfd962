"""What a container sees, and what it may do: each a look from inside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import (
    DEFAULT_CAPABILITIES,
    capability_mask,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import observe_mounts
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Security, Volume
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.defaults import MASKED_PATHS


def status_of(pid):
    return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


@pytest.fixture
def sleeper(host):
    return host.run("web", "sleep", "60")


def test_every_namespace_is_its_own(sleeper):
    for name in ("mnt", "pid", "uts", "ipc", "net", "cgroup"):
        assert os.readlink(f"/proc/{sleeper}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"), name


def test_its_processes_are_all_it_sees(host):
    assert host.output("web", "sh", "-c", "echo /proc/[0-9]*; echo $$") == (0, "/proc/1\n1\n", "")


def test_hostname_and_hosts_files(host):
    script = "hostname; cat /etc/hostname; echo $HOSTNAME; echo $HOME; pwd"
    code, out, err = host.output("web", "sh", "-c", script, hostname="shop")
    assert (code, out.split(), err) == (0, ["shop", "shop", "shop", "/root", "/"], "")


def test_mounts_are_not_seen_on_the_host(host, sleeper):
    rootfs = os.path.join(host.paths.container("web"), "rootfs")
    assert rootfs not in observe_mounts()
    assert os.listdir(rootfs) == []
    inside = observe_mounts(sleeper)
    assert inside["/"] == "overlay"
    assert not [path for path in inside if path.startswith(str(host.paths.root))]
    assert {"/proc", "/dev", "/sys", "/dev/pts", "/dev/shm", "/dev/mqueue"} <= set(inside)


def test_only_the_standard_streams_are_open(host):
    # 3 is ls's own look at the directory.
    assert host.output("web", "ls", "/proc/self/fd")[1].split() == ["0", "1", "2", "3"]


def test_capabilities_are_dockers(sleeper):
    status = status_of(sleeper)
    wanted = capability_mask(DEFAULT_CAPABILITIES)
    assert {name: int(status[name], 16) for name in ("CapBnd", "CapPrm", "CapEff")} == dict.fromkeys(
        ("CapBnd", "CapPrm", "CapEff"), wanted
    )
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0


def test_seccomp_and_no_new_privileges(sleeper):
    status = status_of(sleeper)
    assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip()) == ("2", "1")


def test_a_forbidden_system_call_is_refused(host):
    code, _out, err = host.output("web", "unshare", "-m", "true", security=Security(cap_add=("CAP_SYS_CHROOT",)))
    assert code != 0
    assert "not permitted" in err


def test_privileges_can_be_given_back(host):
    security = Security(no_new_privileges=False, cap_drop=("ALL",), cap_add=("CAP_CHOWN",))
    status = status_of(host.run("web", "sleep", "60", security=security))
    assert status["NoNewPrivs"].strip() == "0"
    assert status["Seccomp"].strip() == "2"
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == capability_mask(["CAP_CHOWN"])


@pytest.mark.parametrize("path", [path for path in MASKED_PATHS if os.path.isfile(path)])
def test_files_of_the_kernel_are_masked(host, path):
    assert host.output("web", "sh", "-c", f"stat -c '%t:%T' {path}; cat {path} | wc -c")[1].split() == ["1:3", "0"]


def test_directories_of_the_kernel_are_masked(host):
    script = "for d in /proc/acpi /proc/scsi /sys/firmware; do ls $d 2>/dev/null; done; touch /sys/firmware/x"
    code, out, err = host.output("web", "sh", "-c", script)
    assert (code, out) == (1, "")
    assert "Read-only file system" in err


READ_ONLY = ("/proc/sys/kernel/hostname", "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_seqnum")


@pytest.mark.parametrize("path", READ_ONLY)
def test_the_kernels_files_are_read_only(host, path):
    code, _out, err = host.output("web", "sh", "-c", f"echo x > {path}")
    assert code != 0
    assert "Read-only file system" in err or "Permission denied" in err


def test_default_devices(host):
    script = (
        "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' /dev/$d; done; "
        "for l in fd ptmx; do readlink /dev/$l; done"
    )
    assert host.output("web", "sh", "-c", script)[1].splitlines() == [
        "/dev/null 1:3 666",
        "/dev/zero 1:5 666",
        "/dev/full 1:7 666",
        "/dev/random 1:8 666",
        "/dev/urandom 1:9 666",
        "/dev/tty 5:0 666",
        "/proc/self/fd",
        "pts/ptmx",
    ]


def test_loopback_is_up(host):
    assert "127.0.0.1" in host.output("web", "ip", "addr")[1]


def test_it_is_in_its_cgroup_with_its_limits(host):
    limits = Limits(memory=64 << 20, pids=50, cpu_quota=50_000)
    pid = host.run("web", "sleep", "60", limits=limits, cgroup_parent="shop")
    path = host.cgroups.container_path("shop", "web")
    assert pid in host.cgroups.processes(path)
    found = host.state("web").container.limits
    assert (found.memory, found.pids, found.cpu_quota) == (64 << 20, 50, 50_000)
    host.delete("web")
    host.cgroups.remove("shop")


def test_cgroups_are_mounted_read_only_and_rooted(host):
    script = "cat /proc/self/cgroup; mkdir /sys/fs/cgroup/x 2>&1; grep cgroup /proc/mounts"
    _code, out, _err = host.output("web", "sh", "-c", script)
    memory = [line for line in out.splitlines() if ":memory:" in line or line.startswith("0::")]
    assert memory
    assert all(line.endswith(":/") for line in memory if ":memory:" in line)
    assert "Read-only file system" in out
    mounts = [line.split() for line in out.splitlines() if " /sys/fs/cgroup" in line]
    assert mounts
    assert all("ro" in fields[3].split(",") for fields in mounts)


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ("web", "uid=1000(web) gid=1000(web) groups=50(staff),1000(web)"),
        ("1000:50", "uid=1000(web) gid=50(staff) groups=50(staff)"),
        ("4242", "uid=4242 gid=0(root) groups=0(root)"),
        # /etc/passwd has a user *named* 1 with uid 0 (CVE-2026-30892).
        ("1", "uid=1 gid=0(root) groups=0(root)"),
    ],
)
def test_users_are_resolved_inside_and_strictly(host, user, told):
    code, out, err = host.output("web", "id", user=user)
    assert (code, out.strip(), err) == (0, told, "")


def test_a_user_without_privileges_writes_to_its_own_stdout(host):
    assert host.output("web", "sh", "-c", "echo hi > /dev/stdout", user="web")[:2] == (0, "hi\n")


def test_read_only_root_volumes_and_tmpfs(host, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("content\n")
    (tmp_path / "single").write_text("one\n")
    script = (
        "cat /data/file /etc/single; touch /x 2>&1; touch /data/y 2>&1; touch /rw/z && echo written; "
        "touch /scratch/t && echo scratch"
    )
    volumes = (
        Volume(str(tmp_path / "data"), "/data", read_only=True),
        Volume(str(tmp_path / "data"), "/rw"),
        Volume(str(tmp_path / "single"), "/etc/single"),
    )
    fields = {"volumes": volumes, "tmpfs": ("/scratch:size=1m",), "security": Security(read_only=True)}
    _code, out, _err = host.output("web", "sh", "-c", script, **fields)
    assert out.splitlines()[:2] == ["content", "one"]
    assert out.count("Read-only file system") == 2
    assert out.splitlines()[-2:] == ["written", "scratch"]
    assert (tmp_path / "data/z").exists()


def test_a_link_in_an_image_leads_inside(host, tmp_path):
    """What is bound on /etc/hosts lands where the link leads inside: not in the host's file of that name."""
    evil = tmp_path / "sha256-evil"
    (evil / "etc").mkdir(parents=True)
    victim = tmp_path / "victim"
    (evil / "etc/hosts").symlink_to("../../../../../../../../victim")
    victim.write_text("untouched\n")
    code, out, _err = host.output("web", "ls", "/victim", layers=[str(host.layer), str(evil)])
    assert (code, out) == (0, "/victim\n")
    assert victim.read_text() == "untouched\n"
    assert not Path("/victim").exists()


def test_a_volume_below_a_dangling_link_is_where_it_leads_inside(host, tmp_path):
    """As runc has it: what is missing on the way is made, inside the root."""
    evil = tmp_path / "sha256-evil"
    evil.mkdir()
    (evil / "up").symlink_to("../../../../../../../../" + str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/here").touch()
    volume = Volume(str(tmp_path / "data"), "/up/in")
    layers = [str(host.layer), str(evil)]
    assert host.output("web", "ls", f"{tmp_path}/in", layers=layers, volumes=(volume,)) == (0, "here\n", "")
    assert not (tmp_path / "in").exists()


def test_an_image_of_many_layers(host, tmp_path):
    """Their names alone are twice the page that mount(2) takes."""
    layers = [str(host.layer)]
    for number in range(120):
        layer = tmp_path / f"sha256-{number:064x}"
        (layer / "layers").mkdir(parents=True)
        (layer / "layers" / str(number)).touch()
        layers.append(str(layer))
    code, out, err = host.output("web", "sh", "-c", "ls /layers | wc -l; touch /layers/own", layers=layers)
    assert (code, out.strip(), err) == (0, "120", "")


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_kernel_file_systems_are_not_moved_by_links(host, tmp_path, name):
    evil = tmp_path / "sha256-evil"
    (evil / "elsewhere").mkdir(parents=True)
    (evil / name).symlink_to("elsewhere")
    host.prepare("web", "true", layers=[str(host.layer), str(evil)])
    result = host.create("web")[0]
    assert f"on /{name}" in result.error
    assert "symbolic links" in result.error


def test_sigpipe_is_not_ignored(host):
    assert int(status_of(host.run("web", "sleep", "60"))["SigIgn"], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_a_privileged_container_has_it_all(host):
    pid = host.run("web", "sleep", "60", security=Security(privileged=True))
    status = status_of(pid)
    assert status["Seccomp"].strip() == "0"
    assert int(status["CapEff"], 16) == int(status_of("self")["CapPrm"], 16)


def test_a_device_of_the_host_can_be_made_but_not_opened(host):
    number = os.stat("/").st_dev
    script = f"mknod /tmp/disk b {os.major(number)} {os.minor(number)} && echo made; head -c 1 /tmp/disk"
    code, out, err = host.output("web", "sh", "-c", script)
    assert (code, out) == (1, "made\n")
    assert "Operation not permitted" in err
