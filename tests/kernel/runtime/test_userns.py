"""A container whose root is an ordinary user of the host: what it sees, what is on the host's disk, what it may do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import (
    Device,
    Namespaces,
    Security,
    Volume,
)
from tests.waiting import wait_for

IDS = ((0, 0x70000000, 65536),)
OWN = Namespaces(userns="auto", uid_map=IDS, gid_map=IDS)
BASE = IDS[0][1]


def id_map(pid, kind="uid"):
    return [tuple(map(int, line.split())) for line in Path(f"/proc/{pid}/{kind}_map").read_text().splitlines()]


def test_root_is_a_user_of_the_host(host):
    pid = host.run("web", "sleep", "60", namespaces=OWN)
    assert id_map(pid) == id_map(pid, "gid") == [*IDS]
    assert os.stat(f"/proc/{pid}").st_uid == BASE
    assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
    assert host.state("web").running


def test_files_of_the_image_and_its_own_belong_to_root(host):
    script = "id -u; stat -c %u:%g / /bin /home/web /etc/hosts /dev/null /proc/1; touch /new; stat -c %u:%g /new"
    code, out, err = host.output("web", "sh", "-c", script, namespaces=OWN)
    assert (code, err) == (0, "")
    assert out.split() == ["0", "0:0", "0:0", "0:0", "0:0", "65534:65534", "0:0", "0:0"]


def test_a_volume_has_the_same_owners_on_both_sides(host, tmp_path):
    source = tmp_path / "data"
    source.mkdir(mode=0o755)
    (source / "of-web").write_text("x")
    os.chown(source / "of-web", 1000, 1000)
    script = "cd /data; stat -c %u:%g . of-web; touch new && stat -c %u:%g new"
    code, out, err = host.output("web", "sh", "-c", script, namespaces=OWN, volumes=(Volume(str(source), "/data"),))
    assert (code, out.split(), err) == (0, ["0:0", "1000:1000", "0:0"], "")
    assert os.stat(source / "new").st_uid == 0


def test_a_file_as_a_volume_and_a_read_only_one(host, tmp_path):
    file = tmp_path / "config"
    file.write_text("hello\n")
    volumes = (Volume(str(file), "/etc/config", read_only=True), Volume(str(tmp_path), "/all"))
    script = (
        "cat /etc/config; (echo x >/etc/config) 2>/dev/null || echo read-only; echo more >>/all/config; cat /etc/config"
    )
    code, out, err = host.output("web", "sh", "-c", script, namespaces=OWN, volumes=volumes)
    assert (code, out.split(), err) == (0, ["hello", "read-only", "hello", "more"], "")


def test_a_volume_without_its_ids_belongs_to_nobody(host, tmp_path):
    source = tmp_path / "data"
    source.mkdir()
    for parent in (source, *list(source.parents)[:-1]):
        os.chmod(parent, os.stat(parent).st_mode | 0o055)
    volumes = (Volume(str(source), "/data", idmap=False),)
    script = "stat -c %u:%g /data; touch /data/new 2>/dev/null || echo refused"
    code, out, _err = host.output("web", "sh", "-c", script, namespaces=OWN, volumes=volumes)
    assert (code, out.split()) == (0, ["65534:65534", "refused"])


def test_a_file_system_that_cannot_have_other_ids_is_told(host):
    host.prepare("web", "true", namespaces=OWN, volumes=(Volume("/proc", "/host/proc"),))
    error = host.create("web")[0].error
    assert "userns: proc at /proc, or something mounted below it, cannot be mounted with other ids" in error
    assert "add noidmap to the volume" in error


def test_what_it_writes_is_owned_by_its_range_on_the_disk(host):
    host.run("web", "sh", "-c", "touch /new; chown 1000:50 /new; exec sleep 60", namespaces=OWN)
    upper = Path(host.paths.container("web"), "upper")
    wait_for(lambda: (upper / "new").exists() and os.lstat(upper / "new").st_uid == BASE + 1000)
    assert (os.stat(upper).st_uid, os.lstat(upper / "new").st_gid) == (BASE, BASE + 50)
    assert os.stat(host.layer / "bin/busybox").st_uid == 0
    assert not os.path.ismount(os.path.join(host.paths.container_run("web"), "idmapped"))
    assert os.listdir(os.path.join(host.paths.container_run("web"), "idmapped/rootfs")) == []


def test_it_has_no_rights_over_the_host(host):
    """Not even with every capability: they count in its own namespaces."""
    security = Security(cap_add=("ALL",), seccomp="unconfined", unmask=("ALL",))
    script = """
        echo 1 >/proc/sys/kernel/panic && echo bad
        echo x >/proc/sysrq-trigger && echo bad
        mknod /null c 1 3 && echo bad
        mount -t tmpfs none /tmp && echo mounted
        chown 70000 /tmp && echo bad
        hostname other && hostname
    """
    _code, out, _err = host.output("web", "sh", "-c", script, namespaces=OWN, security=security)
    assert out.split() == ["mounted", "other"]


def test_enter_as_root_and_as_another(host):
    host.run("web", "sleep", "60", namespaces=OWN)
    enter = [*host.engine, "stowage", "exec"]
    environment = {**os.environ, "STOWAGE_ROOT": host.paths.root, "STOWAGE_RUN_ROOT": host.paths.run_root}
    for user, expected in (("root", "0 0"), ("web", "1000 1000")):
        command = [*enter, "-u", user, "web", "sh", "-c", "echo $(id -u) $(id -g)"]
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=20)
        assert done.stdout.strip() == expected, done.stderr


def test_limits_stay_live(host):
    host.run("web", "sleep", "60", namespaces=OWN, limits=Limits(memory=32 << 20))
    assert host.state("web").container.limits.memory == 32 << 20
    host.cgroups.limit_container(host.cgroups.container_path("", "web"), Limits(memory=48 << 20))
    assert host.state("web").container.limits.memory == 48 << 20


def test_devices_of_the_host_are_bound(host):
    devices = (Device("/dev/full", "/dev/x"),)
    script = "stat -c %t:%T /dev/x; echo y >/dev/x"
    code, out, err = host.output("web", "sh", "-c", script, namespaces=OWN, devices=devices)
    assert (out, code) == ("1:7\n", 1)
    assert "No space left" in err


def test_users_and_groups_may_have_different_ids(host):
    ids = Namespaces("map", ((0, 200000, 1000), (1000, 300000, 5)), ((0, 400000, 6), (1000, 500000, 1)))
    script = "id -u; id -g; touch /tmp/new; stat -c %u:%g /tmp/new; grep -c devpts.*gid= /proc/mounts"
    code, out, err = host.output("web", "sh", "-c", script, namespaces=ids, user="1000:1000")
    assert (code, err) == (0, "")
    assert out.split() == ["1000", "1000", "1000:1000", "1"]
    upper = Path(host.paths.container("web"), "upper/tmp/new")
    assert (os.stat(upper).st_uid, os.stat(upper).st_gid) == (300000, 500000)


def test_terminals_where_their_group_has_no_id(host):
    ids = Namespaces("map", ((0, 200000, 5),), ((0, 200000, 5),))
    assert host.output("web", "sh", "-c", "grep -c devpts.*gid= /proc/mounts", namespaces=ids) == (1, "0\n", "")


def test_a_privileged_one_has_all_rights_over_what_is_its_own(host):
    security = Security(privileged=True)
    script = "mount -t tmpfs none /tmp && echo mounted; mknod /x c 1 3 2>/dev/null || echo refused; ls /dev | wc -l"
    code, out, err = host.output("web", "sh", "-c", script, namespaces=OWN, security=security)
    assert (code, out.split()[:2], err) == (0, ["mounted", "refused"], "")
    nodes = [node for node in os.scandir("/dev") if not node.is_dir() and not node.is_symlink()]
    assert int(out.split()[2]) >= len(nodes)
