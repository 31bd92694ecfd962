"""CVE-2025-52565: a terminal's ends redirected by links of an image, on their way to /dev/console."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest


@pytest.fixture
def terminal(box):
    """A terminal is asked for, and somebody takes it."""
    path = str(box.directory / "console")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    server.settimeout(10)
    taken = []

    def take():
        try:
            connection = server.accept()[0]
        except OSError:
            return
        with connection:
            taken.append(socket.recv_fds(connection, 64, 1)[1])

    thread = threading.Thread(target=take)
    thread.start()
    box.spec["process"]["terminal"] = True
    box.spec["process"]["args"] = ["sleep", "60"]
    yield lambda: box.call("create", "--console-socket", path, "-b", str(box.directory), box.id)
    server.close()
    with socket.socket(socket.AF_UNIX) as knock:
        knock.settimeout(1)
        knock.connect_ex(path)
    thread.join(12)


def without_dev(box):
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if not entry["destination"].startswith("/dev")]
    (box.rootfs / "dev").mkdir()


def test_a_terminal_is_bound_on_the_console(box, terminal):
    box.write()
    done = terminal()
    assert done.returncode == 0, done.stderr
    mounts = Path(f"/proc/{box.pid()}/mountinfo").read_text().splitlines()
    assert [line.split()[-3] for line in mounts if line.split()[4] == "/dev/console"] == ["devpts"]


def test_cve_2025_52565_a_link_at_the_console_is_refused(box, terminal):
    """It would have the terminal cover, or be covered by, what the link leads to."""
    without_dev(box)
    (box.rootfs / "dev/pts").mkdir()
    box.spec["mounts"].append(
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}
    )
    (box.rootfs / "dev/console").symlink_to("/proc/sys/kernel/core_pattern")
    box.write()
    done = terminal()
    assert done.returncode == 1
    assert "/dev/console is a symbolic link" in done.stderr


@pytest.mark.parametrize("what", ["link", "file", "pipe"])
def test_cve_2025_52565_a_false_devpts_gives_no_terminal(box, terminal, what):
    without_dev(box)
    (box.rootfs / "dev/pts").mkdir()
    if what == "link":
        (box.rootfs / "dev/pts/ptmx").symlink_to("/proc/sys/kernel/core_pattern")
    elif what == "file":
        (box.rootfs / "dev/pts/ptmx").touch()
    else:
        os.mkfifo(box.rootfs / "dev/pts/ptmx")
    box.write()
    done = terminal()
    assert done.returncode == 1
    assert "there is no devpts" in done.stderr
