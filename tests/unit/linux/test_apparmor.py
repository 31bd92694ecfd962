"""The profile of containers that name none; what it does is in tests/fleet/test_vm_apparmor_default.py."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.apparmor import (
    DEFAULT_PROFILE,
    default_profile,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.execution import find_machine

PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
FEATURES = Path("/etc/apparmor.d/abi/3.0")  # of Debian's apparmor


@pytest.mark.skipif(
    not (PARSER and FEATURES.exists()), reason="apparmor is not installed: tests/setup.sh packages test"
)
@pytest.mark.parametrize("abi", [True, False])
def test_it_is_a_profile(abi, tmp_path):
    text = default_profile() if abi else default_profile(str(tmp_path))
    assert text.startswith("abi <abi/3.0>,\n") == abi
    command = [PARSER, "--skip-kernel-load", "--skip-cache", "--names", "--features-file", str(FEATURES)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"{DEFAULT_PROFILE}\n"), done.stderr


def test_with_it_a_trampoline_is_entered_and_with_others_not():
    """It lets what is in memory be executed, and what that executes stays in it. Of others nobody knows."""
    plain = find_machine({}, {}, born=True)
    assert plain is not None
    assert find_machine({"apparmorProfile": DEFAULT_PROFILE}, {}, born=True) is plain
    assert find_machine({"apparmorProfile": "web"}, {}, born=True) is None
    assert find_machine({"apparmorProfile": DEFAULT_PROFILE, "selinuxLabel": "a:b:c:s0"}, {}, born=True) is None
