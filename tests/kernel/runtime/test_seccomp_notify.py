"""SCMP_ACT_NOTIFY with a real agent: it gets the listener and the container process state, and answers system calls
(runtime-spec, config-linux.md, Seccomp and The Container Process State; seccomp_unotify(2))."""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import select
import socket
import struct
import threading

import pytest

from tests.kernel.runtime.hosted import HostedRuntime

SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
TOLD = errno.ENOTUNIQ
MKDIR = ("mkdir", "mkdirat")


class Agent:
    """Listens, keeps what it is sent, and answers every notification with an error of its own."""

    def __init__(self, path):
        self.path = str(path)
        self.states = []
        self.notified = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.path)
        self._socket.listen()
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        listeners = []
        poll = select.poll()
        for fd in (self._socket.fileno(), self._stop):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, event in poll.poll():
                if fd == self._stop:
                    for listener in listeners:
                        os.close(listener)
                    return
                if fd == self._socket.fileno():
                    listeners.append(self._accept())
                    poll.register(listeners[-1], select.POLLIN)
                elif event & select.POLLIN:
                    self._answer(fd)
                else:
                    poll.unregister(fd)

    def _accept(self):
        connection = self._socket.accept()[0]
        with connection:
            content, fds, _flags, _address = socket.recv_fds(connection, 65536, 4)
            while part := connection.recv(65536):
                content += part
        self.states.append((json.loads(content), len(fds)))
        return fds[0]

    def _answer(self, fd):
        # struct seccomp_notif: id, pid, flags, struct seccomp_data (nr, arch, ip, six arguments)
        notification = array.array("B", bytes(80))
        try:
            fcntl.ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, notification)
        except FileNotFoundError:  # the caller was killed meanwhile
            return
        identity, pid = struct.unpack_from("=QI", notification)
        self.notified.append(pid)
        answer = struct.pack("=QqiI", identity, 0, -TOLD, 0)
        fcntl.ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, answer)

    def close(self):
        os.write(self._stopper, b".")
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()
        self._socket.close()
        for fd in (self._stop, self._stopper):
            os.close(fd)


@pytest.fixture
def agent(tmp_path):
    agent = Agent(tmp_path / "agent.socket")
    yield agent
    agent.close()


@pytest.fixture
def runtime(app, tmp_path):
    runtime = HostedRuntime(app, tmp_path)
    yield runtime
    runtime.close()


def notify(runtime, **properties):
    rule = {"names": list(MKDIR), "action": "SCMP_ACT_NOTIFY"}
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], **properties}
    runtime.configure(lambda spec: spec["linux"].update(seccomp=seccomp))


TRY = "import os\ntry: os.mkdir('/tmp/made')\nexcept OSError as error: print(error.errno)\nelse: print('made')"


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_an_agent_answers_for_the_kernel(runtime, agent, no_new_privileges):
    notify(runtime, listenerPath=agent.path, listenerMetadata="of the test")
    runtime.configure(lambda spec: spec.update(annotations={"org.example": "x"}))
    done = runtime.run("/usr/bin/python3", "-c", TRY, noNewPrivileges=no_new_privileges)
    assert (done.stdout, done.stderr) == (f"{TOLD}\n", "")
    assert len(agent.notified) == 1
    [(state, descriptors)] = agent.states
    assert descriptors == 1
    assert (state["fds"], state["metadata"], state["pid"]) == (["seccompFd"], "of the test", state["state"]["pid"])
    inner = state["state"]
    assert (inner["id"], inner["status"], inner["bundle"]) == (runtime.id, "creating", str(runtime.bundle))
    assert inner["annotations"] == {"org.example": "x"}
    assert state["ociVersion"] == inner["ociVersion"]


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_an_entered_process_has_a_listener_of_its_own(runtime, agent, no_new_privileges):
    notify(runtime, listenerPath=agent.path)
    runtime.start("/bin/sleep", "60", noNewPrivileges=no_new_privileges)
    done = runtime("exec", "--pid-file", str(runtime.bundle / "pid"), runtime.id, "/usr/bin/python3", "-c", TRY)
    assert (done.stdout, done.stderr) == (f"{TOLD}\n", "")
    assert len(agent.states) == 2
    state = agent.states[1][0]
    pid = json.loads(runtime("state", runtime.id).stdout)["pid"]
    assert (state["state"]["status"], state["state"]["pid"]) == ("running", pid)
    assert state["pid"] == int((runtime.bundle / "pid").read_text()) != pid
    assert state["metadata"] == ""


def test_flags_that_concern_a_listener(runtime, agent):
    flags = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    notify(runtime, listenerPath=agent.path, flags=flags)
    assert runtime.run("/usr/bin/python3", "-c", TRY).stdout == f"{TOLD}\n"


def test_nobody_at_the_socket_is_an_error_and_nothing_is_left(runtime, tmp_path):
    notify(runtime, listenerPath=str(tmp_path / "nobody"))
    done = runtime.run("/bin/true")
    assert done.returncode == 1
    assert "linux.seccomp.listenerPath" in done.stderr
    assert runtime("state", runtime.id).returncode == 1


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({}, "linux.seccomp.listenerPath"),
        ({"listenerMetadata": "x"}, "linux.seccomp.listenerPath"),
        ({"listenerMetadata": "x", "syscalls": []}, "linux.seccomp.listenerMetadata"),
        ({"listenerPath": "/run/x", "defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.defaultAction"),
        (
            {"listenerPath": "/run/x", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]},
            "linux.seccomp.syscalls[0].names",
        ),
    ],
)
def test_what_cannot_be_is_refused(runtime, properties, told):
    notify(runtime, **properties)
    done = runtime.run("/bin/true")
    assert done.returncode == 1
    assert told in done.stderr
    assert not runtime.root.exists() or os.listdir(runtime.root) == []


def test_a_path_that_nothing_is_sent_to_is_ignored(runtime):
    notify(runtime, listenerPath="/nowhere", syscalls=[])
    assert runtime.run("/bin/true").returncode == 0
