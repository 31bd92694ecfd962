# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``run`` and ``exec`` that stay with their process: what they are told goes on to it, and the end leaves nothing."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios

import pytest

from tests.waiting import wait_for

SCRIPT = 'for name in HUP INT QUIT USR1 USR2 TERM; do trap "exit $((10 + $(kill -l $name)))" $name; done; {}'
FOREVER = "touch /tmp/ready; while true; do sleep 0.05; done"
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)


@pytest.fixture
def terminal():
    """A terminal of the caller's: where the two ends are."""
    ends = pty.openpty()
    yield ends
    for fd in ends:
        os.close(fd)


def script():
    return ["sh", "-c", SCRIPT.format(FOREVER)]


def is_cooked(fd):
    return bool(termios.tcgetattr(fd)[3] & termios.ICANON)


def start(runtime, words, stream):
    command = [runtime.command, "--root", runtime.root, *words]
    process = subprocess.Popen(command, stdin=stream, stdout=stream, stderr=stream)
    wait_for((runtime.bundle / "rootfs/tmp/ready").exists)
    return process


def wait(process):
    try:
        return process.wait(10)
    finally:
        process.kill()


@pytest.fixture(autouse=True)
def writable(runtime):
    runtime.configure(lambda spec: spec["root"].update(readonly=False))


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_go_on_to_the_container(runtime, number):
    runtime.configure(lambda spec: spec["process"].update(args=script()))
    process = start(runtime, ["run", "-b", str(runtime.bundle), runtime.id], subprocess.DEVNULL)
    process.send_signal(number)
    assert wait(process) == 10 + number
    assert os.listdir(runtime.root) == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signals_go_on_to_a_container_with_a_terminal(runtime, terminal, number):
    """And our own terminal is as it was."""
    runtime.configure(lambda spec: spec["process"].update(args=script(), terminal=True))
    process = start(runtime, ["run", "-b", str(runtime.bundle), runtime.id], terminal[1])
    assert not is_cooked(terminal[1])
    process.send_signal(number)
    assert wait(process) == 10 + number
    assert is_cooked(terminal[1])
    assert os.listdir(runtime.root) == []


@pytest.mark.parametrize("tty", [False, True])
def test_signals_go_on_to_an_entered_process(runtime, terminal, tty):
    words = [runtime.command, "--root", runtime.root, "run", "-d", "-b", str(runtime.bundle), runtime.id]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(words, **quiet, check=True)
    stream = terminal[1] if tty else subprocess.DEVNULL
    process = start(runtime, ["exec", *(["-t"] if tty else []), runtime.id, *script()], stream)
    process.send_signal(signal.SIGUSR1)
    assert wait(process) == 10 + signal.SIGUSR1
    assert is_cooked(terminal[1])
