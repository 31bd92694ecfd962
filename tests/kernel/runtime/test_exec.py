"""More processes in a running container: with its namespaces and cgroup, and no more rights than it has."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    Conflict,
    InvalidOption,
    RuntimeFailed,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.exec_container import exec_process

ROOT = Path(__file__).parents[3]
CALL = """
import json, sys
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.exec_container import exec_process
root, run_root, args, options = json.loads(sys.argv[1])
sys.exit(exec_process(Paths(root, run_root), "web", args, **options))
"""


@pytest.fixture
def enter(host):
    """Enter the container "web" out of a process of its own: (exit code, stdout)."""
    host.run("web", "sleep", "60")

    def enter(*args, stdin=None, **options):
        words = json.dumps([host.paths.root, host.paths.run_root, args, options])
        env = {**os.environ, "PYTHONPATH": str(ROOT / "build/collections")}
        command = [sys.executable, "-c", CALL, words]
        done = subprocess.run(command, env=env, stdin=stdin, capture_output=True, timeout=20, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return enter


def test_exit_code_and_streams(enter):
    assert enter("sh", "-c", "echo out; echo err >&2; exit 6") == (6, "out\n", "err\n")


def test_it_is_inside(enter, host):
    _code, out, _err = enter("sh", "-c", "hostname; ls /proc/self/fd | wc -l; pwd; echo $HOME; ls /bin/busybox")
    assert out.split() == ["web", "4", "/", "/root", "/bin/busybox"]
    path = host.cgroups.container_path("", "web")
    assert len(host.cgroups.processes(path)) == 1


def test_it_is_in_every_namespace_and_in_the_cgroup(enter, host):
    for name in ("mnt", "pid", "uts", "ipc", "net", "cgroup"):
        assert enter("readlink", f"/proc/self/ns/{name}")[1] == enter("readlink", f"/proc/1/ns/{name}")[1]
    assert enter("cat", "/proc/self/cgroup")[1] == enter("cat", "/proc/1/cgroup")[1]


def test_it_has_no_more_rights_than_the_container(enter):
    fields = "grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/{}/status"
    assert enter("sh", "-c", fields.format("self"))[1] == enter("sh", "-c", fields.format("1"))[1]


def test_user_directory_and_environment(enter):
    script = "id; pwd; echo $GREETING $HOME"
    code, out, _err = enter("sh", "-c", script, user="web", cwd="/tmp", env={"GREETING": "hello"})
    assert code == 0, (out, _err)
    assert out.splitlines() == ["uid=1000(web) gid=1000(web) groups=50(staff),1000(web)", "/tmp", "hello /home/web"]


def test_a_terminal(enter):
    master, slave = pty.openpty()
    code, out, _err = enter("sh", "-c", "tty; echo done", tty=True, stdin=slave)
    os.close(master)
    os.close(slave)
    assert code == 0, (out, _err)
    assert out.splitlines()[-2:] == ["/dev/pts/0", "done"]


def test_what_is_not_there_is_told(host):
    host.run("web", "sleep", "60")
    with pytest.raises(RuntimeFailed, match="exec 'nothing': executable file not found"):
        exec_process(host.paths, "web", ["nothing"])
    with pytest.raises(InvalidOption, match="no-such-user"):
        exec_process(host.paths, "web", ["id"], user="no-such-user")
    with pytest.raises(RuntimeFailed, match="change to the directory /gone"):
        exec_process(host.paths, "web", ["id"], cwd="/gone")
    host.stop("web", 0)
    with pytest.raises(Conflict, match="not running"):
        exec_process(host.paths, "web", ["id"])
