"""The same life on another OCI runtime."""

from __future__ import annotations

import shutil

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime import launch

RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
    for name in ("runc",)
]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_output_exit_code_and_end(host, runtime):
    assert host.output("web", "sh", "-c", "echo hello; exit 3", runtime=runtime) == (3, "hello\n", "")
    host.stop("web")
    assert not host.state("web").running


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_runs_and_stops(host, runtime):
    pid = host.run("web", "sleep", "60", runtime=runtime)
    assert (host.state("web").running, host.state("web").pid) == (True, pid)
    host.stop("web", 0.1)
    assert host.state("web").exit_code == 137


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_wrong_program_is_told_in_its_words(host, runtime):
    host.prepare("web", "nothing", runtime=runtime)
    assert "executable file not found" in host.create("web")[0].error


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_delete_while_running(host, runtime):
    host.run("web", "sleep", "60", runtime=runtime)


def test_a_runtime_that_is_not_installed_is_told(host):
    host.prepare("web", "true", runtime="no-such-runtime")
    result = host.create("web")[0]
    assert isinstance(result, launch.Failed)
    assert "'no-such-runtime' is not installed" in result.error
