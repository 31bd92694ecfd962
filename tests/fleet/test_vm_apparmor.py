# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""process.apparmorProfile on a machine whose kernel has AppArmor; the profile is compiled here and loaded there."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fleet

ENGINE = Path(__file__).resolve().parents[2] / "plugins/module_utils/_engine"
FEATURES = Path("/etc/apparmor.d/abi/3.0")  # of Debian's apparmor

pytestmark = [
    pytest.mark.root,
    pytest.mark.vm,
    pytest.mark.skipif(
        not (shutil.which("apparmor_parser") and FEATURES.exists()),
        reason="apparmor is not installed, which compiles profiles: tests/setup.sh packages test",
    ),
]

PROFILE = """
abi <abi/3.0>,
profile stowage-test flags=(attach_disconnected,mediate_deleted) {
  file,
  network,
  capability,
  signal,
  deny /tmp/** w,
}
"""
SETUP = """
mkdir -p /opt/engine /root/b/rootfs/bin /root/b/rootfs/tmp && tar -xC /opt/engine
cp /bin/busybox /root/b/rootfs/bin && for a in sh cat sleep touch; do ln -s busybox /root/b/rootfs/bin/$a; done
printf '#!/bin/sh\\nexec /usr/bin/python3 -I -S -E /opt/engine stowage-runtime "$@"\\n' > /usr/local/bin/stowage-runtime
chmod 755 /usr/local/bin/stowage-runtime
mountpoint -q /sys/kernel/security || mount -t securityfs none /sys/kernel/security
cat /opt/engine/profile > /sys/kernel/security/apparmor/.replace
cd /root/b && stowage-runtime spec
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fleet.Node]:
    engine = tmp_path_factory.mktemp("engine")
    shutil.copytree(ENGINE, engine / "_engine", ignore=shutil.ignore_patterns("__pycache__"))
    main = "import sys\nfrom _engine.cli.main import main\nsys.exit(main(sys.argv))\n"
    (engine / "__main__.py").write_text(main)
    # Compiled here: the machine is emulated, and has the same Python.
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", engine], check=True, timeout=120)
    command = ["apparmor_parser", "-Q", "-K", "-o", str(engine / "profile"), "--features-file", str(FEATURES)]
    subprocess.run(command, input=PROFILE, text=True, check=True, timeout=60)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(engine, ".")
    with fleet.up("tf-apparmor", ["node-a"], backend="vm") as hosts:
        node = hosts.node("node-a")
        subprocess.run(node.argv(["sh", "-ec", SETUP]), input=archive.getvalue(), check=True, timeout=90)
        yield node


def call(machine: fleet.Node, profile: str, script: str, words: str) -> tuple[int, str]:
    """Give the container's process that profile and script, and call the runtime in the bundle: status, output."""
    change = (
        "import json; spec = json.load(open('config.json'));"
        f"spec['process'].update(terminal=False, apparmorProfile={json.dumps(profile)}, args=['sh', '-c', {script!r}]);"
        "spec['root']['readonly'] = False;"
        "json.dump(spec, open('config.json', 'w'))"
    )
    shell = f'cd /root/b; /usr/bin/python3 -c "$1"; exec 2>&1; {words}'
    done = machine.run(["sh", "-c", shell, "sh", change], check=False, timeout=60)
    return done.returncode, done.stdout


def test_the_program_runs_under_the_profile(machine: fleet.Node) -> None:
    script = "cat /proc/self/attr/current; touch /tmp/denied; touch /fine && echo fine"
    status, told = call(machine, "stowage-test", script, "stowage-runtime run web")
    assert status == 0, told
    assert told.splitlines()[0] == "stowage-test (enforce)"
    assert "/tmp/denied: Permission denied" in told
    assert told.splitlines()[-1] == "fine"


def test_who_enters_has_the_profile_too(machine: fleet.Node) -> None:
    words = (
        "stowage-runtime run -d web < /dev/null > log; "
        "stowage-runtime exec web cat /proc/self/attr/current; stowage-runtime delete --force web"
    )
    assert call(machine, "stowage-test", "exec sleep 60", words) == (0, "stowage-test (enforce)\n")


def test_a_profile_that_is_not_loaded_is_told_and_nothing_is_left(machine: fleet.Node) -> None:
    status, told = call(machine, "no-such-profile", "true", "stowage-runtime create web; stowage-runtime list -q")
    assert status == 0
    assert len(told.splitlines()) == 1, told
    assert "set the AppArmor profile 'no-such-profile' (process.apparmorProfile)" in told
    assert "no profile 'no-such-profile' is loaded" in told


def test_unconfined_is_a_profile(machine: fleet.Node) -> None:
    status, told = call(machine, "unconfined", "cat /proc/self/attr/current", "stowage-runtime run web")
    assert (status, told) == (0, "unconfined\n")
