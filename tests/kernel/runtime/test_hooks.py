"""What is told of hooks that fail, and of programs that cannot be executed; tests/conformance has when hooks run."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest


def set_hooks(runtime, args=("sleep", "60"), **hooks):
    def change(spec):
        spec["hooks"] = hooks
        spec["process"]["args"] = list(args)

    runtime.configure(change)


def script(text, **more):
    return {"path": "/bin/sh", "args": ["sh", "-c", text], **more}


def detached(runtime, *words):
    """Call with streams that a container may keep: status and stderr."""
    with (runtime.bundle / "stderr").open("w+") as errors:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
        command = [runtime.command, "--root", runtime.root, *words]
        status = subprocess.run(command, **streams, timeout=30, check=False).returncode
        errors.seek(0)
        return status, errors.read()


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ({"path": "/no/such/hook"}, "/no/such/hook cannot be run: No such file or directory"),
        ({"path": "/etc/passwd"}, "/etc/passwd cannot be run: Permission denied"),
        (script("exit 7"), "/bin/sh failed with status 7"),
        (script("kill -9 $$"), "/bin/sh ended by signal 9 (killed)"),
        (script("exec sleep 20", timeout=1), "/bin/sh not done within its timeout, 1 s"),
    ],
)
@pytest.mark.parametrize("stage", ["createRuntime", "createContainer"])
def test_why_a_hook_failed(runtime, stage, hook, told):
    set_hooks(runtime, **{stage: [{"path": "/bin/true"}, hook]})
    status, errors = detached(runtime, "create", "-b", str(runtime.bundle), runtime.id)
    assert status == 1
    assert f"hooks.{stage}[1]: error running {stage} hook #1: {told}" in errors
    assert len(errors.splitlines()) == 1
    assert runtime("list", "-q").stdout == ""


def test_what_a_hook_leaves_running_ends_with_its_timeout(runtime, tmp_path):
    set_hooks(runtime, createRuntime=[script(f"sleep 30 & echo $! > {tmp_path}/pid; wait", timeout=1)])
    assert detached(runtime, "create", "-b", str(runtime.bundle), runtime.id)[0] == 1
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{pid}")


def test_a_failing_poststop_hook_is_a_warning(runtime, tmp_path):
    set_hooks(runtime, ["true"], poststop=[script(f"cat > {tmp_path}/told"), script("exit 3"), script("exit 4")])
    done = runtime("run", "-b", str(runtime.bundle), runtime.id)
    assert done.returncode == 0
    assert 'level=warning msg="hooks.poststop[1]' in done.stderr
    assert 'level=warning msg="hooks.poststop[2]' in done.stderr
    state = json.loads((tmp_path / "told").read_text())
    assert (state["id"], state["status"], state["pid"]) == (runtime.id, "stopped", 0)


def test_a_failing_startcontainer_hook_fails_the_start_and_ends_the_container(runtime, tmp_path):
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "exit 4"]}
    set_hooks(runtime, startContainer=[hook], poststop=[script(f"echo done > {tmp_path}/poststop")])
    assert detached(runtime, "create", "-b", str(runtime.bundle), runtime.id) == (0, "")
    done = runtime("start", runtime.id)
    assert done.returncode == 1
    assert "hooks.startContainer[0]: error running startContainer hook #0: /bin/sh failed with status 4" in done.stderr
    assert runtime("list", "-q").stdout == ""
    assert (tmp_path / "poststop").read_text() == "done\n"


def test_a_long_startcontainer_hook_is_waited_for(runtime):
    """Longer than a start without hooks may take."""
    set_hooks(runtime, startContainer=[{"path": "/bin/sh", "args": ["sh", "-c", "sleep 11"]}])
    assert detached(runtime, "run", "-d", "-b", str(runtime.bundle), runtime.id) == (0, "")
    assert runtime.status() == "running"


@pytest.mark.parametrize("how", ["start", "run"])
def test_a_program_that_cannot_be_executed_is_told_by_start(runtime, how):
    """It was there, and had its mode, when the container was created."""
    program = runtime.bundle / "rootfs/bin/nonsense"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    set_hooks(runtime, ["/bin/nonsense"])
    if how == "start":
        assert detached(runtime, "create", "-b", str(runtime.bundle), runtime.id) == (0, "")
        done = runtime("start", runtime.id)
        assert runtime.status() == "stopped"
    else:
        status, errors = detached(runtime, "run", "-d", "-b", str(runtime.bundle), runtime.id)
        done = subprocess.CompletedProcess([], status, "", errors)
    assert done.returncode == 1
    assert "exec /bin/nonsense: " in done.stderr and "format error" in done.stderr
    assert len(done.stderr.splitlines()) == 1
