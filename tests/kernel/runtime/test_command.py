"""``stowage-runtime`` as people call it; podman and containerd have tests of their own."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest


def test_create_start_state_kill_delete(runtime, tmp_path):
    # Whoever creates must not wait for the end of streams that the container has.
    words = [runtime.command, "--root", runtime.root, "create", "-b", str(runtime.bundle)]
    words += ["--pid-file", str(tmp_path / "pid"), runtime.id]
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    state = json.loads(runtime("state", runtime.id).stdout)
    assert (state["status"], state["id"], state["bundle"]) == ("created", runtime.id, str(runtime.bundle))
    assert state["pid"] == int((tmp_path / "pid").read_text())
    assert runtime("start", runtime.id).returncode == 0
    assert runtime.status() == "running"
    assert runtime.id in runtime("list").stdout
    assert runtime("exec", runtime.id, "hostname").stdout == "stowage\n"
    refused = runtime("delete", runtime.id)
    assert (refused.returncode, "it is running" in refused.stderr) == (1, True)
    assert runtime("kill", runtime.id, "KILL").returncode == 0
    deadline = time.monotonic() + 5
    while runtime.status() != "stopped" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert runtime("delete", runtime.id).returncode == 0
    gone = runtime("state", runtime.id)
    assert (gone.returncode, "does not exist" in gone.stderr) == (1, True)


def test_run_passes_streams_and_exit_code_on(runtime):
    runtime.configure(lambda spec: spec["process"].update(args=["sh", "-c", "cat; exit 5"]))
    done = runtime("run", "-b", str(runtime.bundle), runtime.id, input="hello\n")
    assert (done.returncode, done.stdout) == (5, "hello\n")
    assert runtime("list", "-q").stdout == ""


def test_a_namespace_by_its_path_is_joined(runtime):
    def share(spec):
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] not in ("network", "ipc")]
        spec["linux"]["namespaces"] += [{"type": "network", "path": "/proc/self/ns/net"}, {"type": "ipc"}]
        spec["process"]["args"] = ["readlink", "/proc/self/ns/net"]

    runtime.configure(share)
    done = runtime("run", "-b", str(runtime.bundle), runtime.id)
    assert done.stdout.strip() == os.readlink("/proc/self/ns/net"), done.stderr


def test_a_user_namespace_with_mappings(runtime):
    def map_users(spec):
        spec["linux"]["namespaces"].append({"type": "user"})
        for name in ("uidMappings", "gidMappings"):
            spec["linux"][name] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        spec["mounts"] = [entry for entry in spec["mounts"] if entry["type"] != "cgroup"]
        spec["process"]["args"] = ["sh", "-c", "cat /proc/self/uid_map; id; stat -c %t:%T /dev/null"]

    runtime.configure(map_users)
    for directory, dirs, files in os.walk(runtime.bundle / "rootfs"):
        for name in [".", *dirs, *files]:
            os.chown(os.path.join(directory, name), 100000, 100000, follow_symlinks=False)
    for parent in runtime.bundle.parents:
        if os.stat(parent).st_mode & 0o5 != 0o5:
            parent.chmod(parent.stat().st_mode | 0o5)
    done = runtime("run", "-b", str(runtime.bundle), runtime.id)
    assert done.stdout.split()[:3] == ["0", "100000", "65536"], done.stderr
    assert "uid=0(root)" in done.stdout
    assert done.stdout.splitlines()[-1] == "1:3"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("process", "args"), [], "process.args: [] is not valid; expected at least the program to run"),
        (("process", "cwd"), "relative", "process.cwd: 'relative' is not valid; expected an absolute path"),
        (("process", "user", "uid"), -1, "process.user.uid: -1 is not valid"),
        (("ociVersion",), "2.0", "ociVersion: '2.0' is not valid; expected a version 1.x"),
        (("root", "path"), "nowhere", "root.path: 'nowhere' is not valid; expected a directory"),
        (("linux", "sysctl"), {"kernel.panic": "1"}, "linux.sysctl.kernel.panic"),
        (("linux", "namespaces"), [{"type": "pid"}], "a mount namespace"),
        (("mounts",), [{"type": "tmpfs"}], "mounts[0].destination: None is not valid; expected a value"),
        (("linux", "seccomp", "defaultAction"), "SCMP_ACT_PLEASE", "linux.seccomp.defaultAction"),
        (("process", "apparmorProfile"), "mine", "process.apparmorProfile: 'mine'"),
        (("process", "args"), ["no\nsuch\x1bprogram"], "exec 'no\\nsuch\\x1bprogram' (no such?program)"),
        (("mounts",), [{"destination": "/mnt", "type": "no\nfs"}], "mount no fs on /mnt: no such device"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_makes_nothing(runtime, path, value, told):
    def spoil(spec):
        for part in path[:-1]:
            spec = spec.setdefault(part, {})
        spec[path[-1]] = value

    runtime.configure(spoil)
    done = runtime("create", "-b", str(runtime.bundle), runtime.id)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert runtime("list", "-q").stdout == ""


def test_a_configuration_without_its_linux_part_is_no_traceback(runtime):
    """Go writes null for what is not there."""
    runtime.configure(lambda spec: spec.update(linux=None, mounts=[], hostname=""))
    runtime.configure(lambda spec: spec["process"].update(args=["true"]))
    done = runtime("run", "-b", str(runtime.bundle), runtime.id)
    assert (done.returncode, done.stderr) == (0, "")


def test_errors_go_to_the_log_as_json(runtime, tmp_path):
    log = tmp_path / "log"
    runtime("--log", str(log), "--log-format=json", "start", "nobody")
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert "does not exist" in entry["msg"]


def test_hooks_of_every_stage(runtime, tmp_path):
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\ncat > {tmp_path}/$1.json\n")
    script.chmod(0o755)
    stages = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")

    def hooks(spec):
        spec["hooks"] = {stage: [{"path": str(script), "args": ["hook", stage]}] for stage in stages}
        spec["process"]["args"] = ["true"]

    runtime.configure(hooks)
    assert runtime("run", "-b", str(runtime.bundle), runtime.id).returncode == 0
    for stage in stages:
        assert json.loads((tmp_path / f"{stage}.json").read_text())["id"] == runtime.id


def test_version_and_features(runtime):
    assert runtime("--version").stdout.startswith("stowage-runtime version ")
    assert "CAP_CHOWN" in json.loads(runtime("features").stdout)["linux"]["capabilities"]
