# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook against containers: the connection plugin, here and over SSH, and an image that a
playbook builds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.stowage.engine.plugins.module_utils._ansible.install import command_script
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from tests.kernel.host.world import containers_task

ROOT = Path(__file__).parents[3]
PYTHON = "/usr/bin/python3"


def playbook(world, plays, *arguments, inventory=None):
    """Run plays, or a playbook by its path; its exit code and output."""
    directory = world.directory
    if not isinstance(plays, (str, Path)):
        (directory / "play.yml").write_text(yaml.safe_dump(plays))
        plays = directory / "play.yml"
    (directory / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": inventory or {}}}))
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(directory / "inventory.yml")]
    environment = {
        **os.environ,
        **world.paths.environment(),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build/collections"),
        "ANSIBLE_HOME": str(directory / "ansible"),
        "ANSIBLE_HOST_KEY_CHECKING": "false",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "false",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
    }

    def run():
        done = subprocess.run(
            [*argv, str(plays), *arguments], check=False, capture_output=True, text=True, timeout=100, env=environment
        )
        return done.returncode, done.stdout + done.stderr

    return world.call(run)


def stowage(world):
    """The engine's command on this host."""
    path = world.directory / "bin" / "stowage"
    path.parent.mkdir(exist_ok=True)
    (digest,) = os.listdir(world.paths.engines)
    path.write_bytes(command_script(world.paths, "stowage", digest))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def inside(world):
    """A host with a container that has the host's Python, and the variables that make it a host of the inventory."""
    links = [{"path": f"/{name}", "target": f"usr/{name}"} for name in ("bin", "sbin", "lib", "lib64")]
    users = "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1000::/home:/bin/sh\n"
    files = [
        {"path": "/etc/passwd", "content": users},
        {"path": "/etc/group", "content": "root:x:0:\nworker:x:1000:\n"},
        {"path": "/etc/shadow", "content": "root:*:1::::::\nworker::1::::::\n", "mode": "0640"},
        {"path": "/etc/pam.d/su", "content": "auth sufficient pam_rootok.so\naccount sufficient pam_permit.so\n"
         "session sufficient pam_permit.so\n"},
        {"path": "/home", "uid": 1000, "gid": 1000},
        {"path": "/etc/stowage-test-of-a-link", "content": "before"},
        {"path": "/secret", "target": "/etc/stowage-test-of-a-link"},
    ]  # fmt: skip
    image = {"name": "python:1", "layers": [{"files": [*links, *files]}], "config": {"command": ["sleep", "3600"]}}
    container = {"image": "python:1", "volumes": ["/usr:/usr:ro"], "tmpfs": ["/tmp:mode=1777", "/var/tmp:mode=1777"]}
    world.run(("image", image), containers_task(work=container))
    return world, {
        "ansible_connection": "stowage.engine.container",
        "ansible_stowage_command": stowage(world),
        "ansible_python_interpreter": PYTHON,
        "ansible_remote_tmp": "/tmp/.ansible",
    }


def in_container(world, *words):
    """What a program of the container says."""
    return world.call(
        lambda: (
            subprocess.run(
                [str(world.directory / "bin" / "stowage"), "exec", "work", *words],
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            ).stdout
        )
    )


def tasks(world):
    """Ordinary modules, files both ways, another user."""
    big, back = world.directory / "big", world.directory / "back"
    big.write_bytes(bytes(range(256)) * 4096 * 9)  # 9 MiB: more than one piece
    exact = world.directory / "exact"
    exact.write_bytes(os.urandom(8 << 20))  # just one
    become = {"become": True, "become_user": "worker", "become_method": "ansible.builtin.su"}
    return [
        {"ansible.builtin.file": {"path": "/srv/www", "state": "directory", "mode": "0750"}},
        {"ansible.builtin.copy": {"content": "hello\n", "dest": "/srv/www/it's here"}},
        {"ansible.builtin.copy": {"src": str(big), "dest": "/srv/big"}},
        {"ansible.builtin.copy": {"src": str(exact), "dest": "/srv/exact"}},
        {"ansible.builtin.fetch": {"src": "/srv/big", "dest": str(back), "flat": True}},
        {"ansible.builtin.fetch": {"src": "/srv/exact", "dest": f"{back}2", "flat": True}},
        {"ansible.builtin.copy": {"content": "", "dest": "/srv/empty"}},
        {"ansible.builtin.copy": {"content": "leads inside", "dest": "/secret", "follow": True}},
        {"ansible.builtin.command": {"argv": ["touch", "/home/mine"]}, **become},
        {"ansible.builtin.setup": {"gather_subset": ["!all", "min"]}},
        {"ansible.builtin.assert": {"that": ["ansible_facts.nodename == 'work'"]}},
    ]


def demand_changed(world):
    assert in_container(world, "cat", "/srv/www/it's here") == "hello\n"
    owners = in_container(world, "stat", "-c", "%a %U", "/srv/www", "/home/mine")
    assert owners.split() == ["750", "root", "644", "worker"]
    assert in_container(world, "cat", "/etc/stowage-test-of-a-link") == "leads inside"
    assert not os.path.exists("/etc/stowage-test-of-a-link")
    assert (world.directory / "back").read_bytes() == (world.directory / "big").read_bytes()
    assert (world.directory / "back2").read_bytes() == (world.directory / "exact").read_bytes()


def test_modules_change_a_container_of_the_controller(inside):
    world, variables = inside
    plays = [{"hosts": "work", "gather_facts": False, "tasks": tasks(world)}]
    code, told = playbook(world, plays, inventory={"work": variables})
    assert code == 0, told
    demand_changed(world)


def test_modules_change_a_container_of_another_host(inside, sshd):
    world, variables = inside
    plays = [{"hosts": "there", "gather_facts": False, "tasks": tasks(world)}]
    there = {**variables, **sshd, "ansible_stowage_container": "work", "ansible_stowage_via": "ssh"}
    code, told = playbook(world, plays, inventory={"there": there})
    assert code == 0, told
    demand_changed(world)


def test_tasks_of_another_host_are_delegated_to_containers(inside):
    world, variables = inside
    world.run(containers_task(elsewhere={"image": "python:1", "volumes": ["/usr:/usr:ro"]}))
    there = {"there": {**variables, "ansible_stowage_container": "work"}, "work": variables}
    task = {"ansible.builtin.raw": "uname -n >>/srv-{{ item }}", "delegate_to": "{{ item }}", "loop": list(there)}
    plays = [{"hosts": "elsewhere", "gather_facts": False, "tasks": [task]}]
    code, told = playbook(world, plays, inventory={"elsewhere": {"ansible_connection": "local"}, **there})
    assert code == 0, told
    assert in_container(world, "cat", "/srv-work", "/srv-there") == "work\nwork\n"


def test_what_cannot_be_done_is_told(inside):
    world, variables = inside
    cases = {
        "absent": ({}, {"ansible.builtin.raw": "true"}, "container 'absent' is not on this host"),
        "via": (
            {"ansible_stowage_via": "nowhere.at.all"},
            {"ansible.builtin.raw": "true"},
            "no connection plugin that is installed here",
        ),
        "work": ({}, {"ansible.builtin.fetch": {"src": "/not/there", "dest": "/dev/null/x"}}, "/not/there"),
    }
    for name, (more, task, expected) in cases.items():
        plays = [{"hosts": name, "gather_facts": False, "tasks": [task]}]
        code, told = playbook(world, plays, inventory={name: {**variables, **more}})
        assert code != 0 and expected in told, told


def test_a_playbook_builds_an_image_the_same_one_each_time(world):
    commands = world.directory / "commands"
    told = ["-e", json.dumps({"build_commands": str(commands), "build_stowage": f"{commands}/stowage"})]
    told += ["-e", json.dumps({"ansible_become": False, "ansible_python_interpreter": sys.executable})]
    digests = set()
    for _turn in range(2):
        code, output = playbook(world, ROOT / "playbooks" / "build_image.yml", *told)
        assert code == 0, output
        digests.add(world.call(lambda: Host(world.paths).observe_images())["docker.io/library/site:1"].digest)
        assert world.containers() == {}
    assert len(digests) == 1
    world.run(containers_task(site={"image": "site:1", "command": ["sleep", "3600"]}))
    script = "[ $(id -un) = nobody ] && [ $(pwd) = /www ] && cat index.html >/dev/null"
    assert world.call(lambda: Host(world.paths).exec_process("site", ["sh", "-c", script], env={})) == 0


@pytest.fixture
def sshd(world):
    """An SSH server of the world, for root by key; the variables that lead there."""
    if shutil.which("sshd") is None and not os.path.exists("/usr/sbin/sshd"):
        pytest.skip("no sshd on this machine: it plays another host")
    directory = world.directory / "ssh"
    directory.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True, timeout=30
        )
    shutil.copy(directory / "user.pub", directory / "authorized_keys")
    config = directory / "sshd_config"
    config.write_text(
        f"Port 2222\nListenAddress 127.0.0.1\nHostKey {directory}/host\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
    )
    separation = Path("/run/sshd")  # sshd(8) wants it, empty
    made = not separation.exists()
    separation.mkdir(exist_ok=True)
    world.start(lambda: os.execv("/usr/sbin/sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)]))
    yield {
        "ansible_host": "127.0.0.1",
        "ansible_port": 2222,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(directory / "user"),
        "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o ConnectTimeout=20",
    }
    if made:
        separation.rmdir()
