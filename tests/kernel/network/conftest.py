"""Hosts made of a network namespace each: a function runs "on" one in a forked child that enters it."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import socket
import time
import traceback

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.process import run_program
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def unshare_net():
    if _libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def spawn(function):
    """A forked child that runs ``function`` and ends with it; its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


class Namespace:
    """A network namespace that lives while its descriptor, or a process in it, does."""

    def __init__(self):
        ready, tell = os.pipe()

        def hold():
            unshare_net()
            os.write(tell, b"!")
            signal.pause()

        pid = spawn(hold)
        os.read(ready, 1)
        os.close(ready)
        os.close(tell)
        self.fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.pids = []

    def enter(self):
        if _libc.setns(self.fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def start(self, function):
        """Run ``function`` in a child that has entered; it is killed at the end of the test."""
        entered, tell = os.pipe()

        def run():
            self.enter()
            os.write(tell, b"!")
            function()

        pid = spawn(run)
        os.close(tell)
        if os.read(entered, 1) != b"!":
            raise OSError("the child could not enter the namespace")
        os.close(entered)
        self.pids.append(pid)
        return pid

    def call(self, function, *args):
        """What ``function(*args)`` returns or raises in a child here."""
        reader, writer = os.pipe()

        def run():
            self.enter()
            try:
                result = (True, function(*args))
            except Exception as error:
                # Exceptions of ours take other arguments than their text: only type and text travel.
                result = (False, (type(error).__name__, str(error), traceback.format_exc()))
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(result, pipe)

        pid = spawn(run)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(pid, 0)
        good, value = pickle.loads(answer)
        if not good:
            raise Failed(*value)
        return value

    def sh(self, command):
        return self.call(run_program, ["sh", "-c", command]).decode()

    def close(self):
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        os.close(self.fd)


class Failed(Exception):
    """Something failed in a child: ``kind`` is the exception's class name, ``text`` what it says."""

    def __init__(self, kind, text, trace):
        super().__init__(f"{kind}: {text}\n{trace}")
        self.kind = kind
        self.text = text


class Host(Namespace):
    """A namespace with paths of its own, and containers that are processes in namespaces of their own."""

    def __init__(self, directory):
        super().__init__()
        self.paths = Paths(str(directory / "root"), str(directory / "run"))
        self.containers = []
        self.sh("ip link set lo up")

    def container(self):
        """A process in a fresh network namespace: what a created container is. Returns (namespace, pid)."""
        namespace = Namespace()
        self.containers.append(namespace)
        return namespace, namespace.start(signal.pause)

    def close(self):
        for namespace in self.containers:
            namespace.close()
        super().close()


@pytest.fixture
def make_host(tmp_path):
    hosts = []

    def make(name="host"):
        hosts.append(Host(tmp_path / name))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def host(make_host):
    """A host with an underlay link eth0, 192.0.2.1/24, that leads nowhere."""
    host = make_host()
    host.sh(
        "ip link add eth0 type veth peer name far && ip link set eth0 up && ip link set far up "
        "&& ip addr add 192.0.2.1/24 dev eth0 && ip route add default via 192.0.2.254"
    )
    return host


@pytest.fixture
def two_hosts(make_host):
    """Two hosts on one underlay: 192.0.2.1 and 192.0.2.2."""
    one, two = make_host("one"), make_host("two")
    one.sh("ip link add eth0 type veth peer name eth1 && ip link set eth0 up && ip addr add 192.0.2.1/24 dev eth0")
    pid = two.start(signal.pause)
    one.sh(f"ip link set eth1 netns {pid} name eth0")
    two.sh("ip link set eth0 up && ip addr add 192.0.2.2/24 dev eth0")
    return one, two


def serve(port, text):
    """A TCP server that answers every connection with the caller's address and ``text``."""

    def run():
        with socket.create_server(("0.0.0.0", port)) as server:
            while True:
                connection, address = server.accept()
                with connection:
                    connection.sendall(f"{address[0]} {text}".encode())

    return run


def fetch(address, port, timeout=3.0):
    """What the server at ``address`` says; connecting is tried until ``timeout``."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with socket.create_connection((address, port), timeout=1.0) as connection:
                return connection.recv(200).decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
