"""A container whose root is an ordinary user of the host: what it sees, what is on the host's disk, what it may do."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Namespaces

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
