"""escapes.py, run inside containers as root: everything that it attempts fails. In a container that is privileged,
without a filter, a mask or a rule, the same attempts succeed where that does no harm: so they are real ones."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import CAPABILITIES
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Container, Security, Volume
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.spec import oci_spec
from tests.kernel.runtime import escapes
from tests.kernel.runtime.hosted import LINKS, PYTHON, HostedRuntime

REFUSED = {"EPERM", "EACCES", "EROFS", "ENOSYS"}
# Where the kernel says it in other words.
ALSO = {
    "abstract_socket_of_the_host": {"ECONNREFUSED"},  # nobody has that name in this network namespace
    "by_a_leaked_descriptor": {"ENOENT"},
    "descriptors_beyond_the_streams": {"EBADF"},
    "first_virtual_terminal": {"ENXIO"},
    "out_of_a_chroot": {"ENOENT"},
    "processes_of_the_host": {"ESRCH"},
    "read_a_process_of_the_host": {"ESRCH"},
    "release_agent": {"ENOENT"},  # a cgroup namespace has none
    "root_of_pid_1": {"ENOENT"},
    "signal_a_process_of_the_host": {"ESRCH"},
    "take_the_callers_terminal": {"ENOTTY"},
    "terminal_of_the_host": {"EIO"},  # a pseudo terminal is one in a devpts alone
    "terminals_of_others": {"ENOENT"},
    "trace_a_process_of_the_host": {"ESRCH"},
    "type_into_the_callers_terminal": {"EIO", "ENOTTY"},
    "up_from_where_it_starts": {"ENOENT"},
    "working_directory_and_up": {"ENOENT"},
}


class Outside:
    """What there is to be reached on the host: a file, an abstract socket, a process."""

    def __init__(self, directory):
        self.marker = directory / "marker-of-the-host"
        self.marker.write_text("reached\n")
        self.name = f"stowage-test-{uuid.uuid4().hex}"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind("\0" + self.name)
        self.socket.listen()
        self.process = subprocess.Popen(["/bin/sleep", "600"])

    def settings(self, **more):
        return json.dumps(
            {"marker": str(self.marker), "socket": self.name, "pid": self.process.pid, "inherited": [], **more}
        )

    def close(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def outside(tmp_path):
    outside = Outside(tmp_path)
    yield outside
    outside.close()


def furnish(rootfs):
    """Put the attempts into a root, and what they need."""
    shutil.copy(escapes.__file__, rootfs / "srv/escapes.py")
    shutil.copy(PYTHON, rootfs / "srv/suid-python")
    os.chmod(rootfs / "srv/suid-python", 0o4755)
    for name in ("mnt", "proc", "tmp"):
        (rootfs / name).mkdir(exist_ok=True)


COMMAND = ("/usr/bin/python3", "-I", "-S", "/srv/escapes.py")


@pytest.fixture
def runtime(app, tmp_path):
    """The command line, with the configuration that the engine gives a container of no options."""
    runtime = HostedRuntime(app, tmp_path)
    furnish(runtime.rootfs)
    configure(runtime)
    yield runtime
    runtime.close()


def configure(runtime, **security):
    container = Container(name="web", image="", args=("/bin/true",), security=Security(**security))
    spec = oci_spec(container, rootfs="rootfs", run_directory="", cgroups_path=f"/{runtime.id}")
    spec["mounts"] = [entry for entry in spec["mounts"] if entry["type"] != "bind"]
    spec["mounts"].append({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]})
    (runtime.bundle / "config.json").write_text(json.dumps(spec))


def outcomes(done):
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def let_through(results):
    """What was not refused."""
    return {name: told for name, told in results.items() if told not in REFUSED | ALSO.get(name, set())}


def missing_here():
    """Attempts at files that this kernel does not have: nothing can be told of them."""
    files = {name: attempt.__defaults__[0] for name, attempt in escapes.ATTEMPTS.items() if attempt.__defaults__}
    return {name for name, path in files.items() if not os.path.exists(path)}


def check(results, attempts=escapes.ATTEMPTS):
    assert results.keys() == set(attempts)
    assert {name: told for name, told in let_through(results).items() if name not in missing_here()} == {}


def test_out_of_a_container_of_the_command_line(runtime, outside):
    check(outcomes(runtime.run(*COMMAND, outside.settings())))


def test_out_of_an_entered_process(runtime, outside):
    runtime.start("/bin/sleep", "60")
    check(outcomes(runtime("exec", runtime.id, *COMMAND, outside.settings())))


def test_out_of_a_container_of_the_engine(host, outside, tmp_path):
    layer = tmp_path / "sha256-escapes"
    for name in ("srv", "mnt", "tmp", "usr", "etc"):
        (layer / name).mkdir(parents=True)
    for name, target in LINKS.items():
        (layer / name).symlink_to(target)
    furnish(layer)
    volumes = (Volume("/usr", "/usr", read_only=True),)
    done = host.output("web", *COMMAND, outside.settings(), layers=[str(layer)], volumes=volumes)
    assert (done[0], done[2]) == (0, "")
    check(json.loads(done[1]))


def test_onto_the_terminal_of_whoever_runs_it(runtime, outside):
    """Its standard input is the controlling terminal of the shell that started it: not the container's to type into."""
    pid, master = pty.fork()
    if pid == 0:
        process = subprocess.run([*runtime.command, "--version"], check=False)
        runtime.configure(lambda spec: spec["process"].update(args=[*COMMAND, outside.settings()]))
        words = [*runtime.command, "run", "-b", str(runtime.bundle), runtime.id]
        with open(runtime.bundle / "out", "wb") as out:
            process = subprocess.run(words, stdout=out, check=False)
        os._exit(process.returncode)
    try:
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(master)
    results = json.loads((runtime.bundle / "out").read_text())
    assert {results[name] for name in ("type_into_the_callers_terminal", "take_the_callers_terminal")} == {"EPERM"}
    check(results)


# What a user namespace keeps from the host, whatever its root may do inside.
OF_THE_HOST = (
    *("sysrq_trigger", "core_pattern", "modprobe_path", "hotplug", "panic_on_oom", "binfmt_misc", "mtrr"),
    *("interrupts_of_a_processor", "uevent_helper", "huge_pages", "power_state", "profiling", "device_rescan"),
    *("driver_probe", "kernel_memory", "read_kernel_memory", "mount_debugfs", "mount_a_disk", "release_agent"),
    *("make_a_cgroup", "leave_the_cgroup", "lift_the_device_rules", "root_of_pid_1", "working_directory_and_up"),
    *("up_from_where_it_starts", "out_of_a_chroot", "by_a_leaked_descriptor", "descriptors_beyond_the_streams"),
    *("shocker", "write_to_what_is_bound_read_only", "read_a_disk", "read_memory", "read_ports", "kernel_messages"),
    *("fuse", "tun", "loop_control", "console_of_the_host", "first_virtual_terminal", "terminal_of_the_host"),
    *("terminals_of_others", "load_a_module", "load_a_module_file", "unload_a_module", "kexec", "kexec_by_file"),
    *("swap_on", "swap_off", "io_privileges", "io_ports", "load_a_bpf_program", "profile_the_host", "accounting"),
    *("read_kernel_messages", "abstract_socket_of_the_host", "processes_of_the_host", "higher_priority"),
    *("signal_a_process_of_the_host", "trace_a_process_of_the_host", "read_a_process_of_the_host"),
    *("safety_from_the_oom_killer", "more_than_its_limits"),
)


@pytest.fixture
def public(app):
    """A runtime whose bundle a user of the host can reach, as root of a user namespace is one."""
    with tempfile.TemporaryDirectory(prefix="stowage-test-", dir="/tmp") as directory:
        os.chmod(directory, 0o711)
        runtime = HostedRuntime(app, Path(directory))
        furnish(runtime.rootfs)
        configure(runtime)
        yield runtime
        runtime.close()


def test_out_of_a_user_namespace_with_all_capabilities(public, outside):
    """cap_add: ALL, no filter, nothing masked: only what the kernel makes of a user namespace stands in between."""
    runtime = public
    for directory, names, files in os.walk(runtime.rootfs):
        for name in (".", *names, *files):
            os.chown(os.path.join(directory, name), 200_000, 200_000, follow_symlinks=False)
    (runtime.rootfs / "srv/suid-python").chmod(0o4755)

    def change(spec):
        spec["linux"]["namespaces"].append({"type": "user"})
        mapping = [{"containerID": 0, "hostID": 200_000, "size": 65_536}]
        spec["linux"].update(uidMappings=mapping, gidMappings=mapping, maskedPaths=[], readonlyPaths=[])
        del spec["linux"]["seccomp"]
        spec["process"]["capabilities"] = {kind: [*CAPABILITIES] for kind in ("bounding", "effective", "permitted")}

    runtime.configure(change)
    check(outcomes(runtime.run(*COMMAND, outside.settings(only=OF_THE_HOST))), OF_THE_HOST)


# Attempts that succeed where everything is allowed, and do no harm then.
REAL = (
    *("sysrq_trigger", "core_pattern", "modprobe_path", "huge_pages", "interrupts_of_a_processor", "read_interrupts"),
    *("read_keys", "mount_tmpfs", "bind_the_root", "mount_a_procfs_over_proc", "mount_a_sysfs", "mount_an_overlay"),
    *("make_a_mount_shared", "fsopen", "open_tree_clone", "mount_setattr", "pivot_root"),
    *("unshare_mount", "unshare_network", "clone3_user", "join_the_network_of_pid_1", "shocker", "read_a_disk"),
    *("kernel_messages", "loop_control", "load_a_bpf_program", "keys", "add_a_key", "fanotify", "quotas"),
    *("read_kernel_messages", "name_the_host", "name_the_domain", "change_the_network", "userfaultfd", "io_uring"),
    *("privileges_of_a_set_user_id_program", "higher_priority"),
)


def test_the_attempts_are_real_ones(runtime, outside):
    """In a container that may do all, these succeed: where they fail above, that is not for want of trying."""
    configure(runtime, privileged=True, no_new_privileges=False)

    def open_up(spec):
        for entry in spec["mounts"]:
            entry["options"] = [option for option in entry.get("options") or () if option not in ("ro", "nodev")]

    runtime.configure(open_up)
    results = outcomes(runtime.run(*COMMAND, outside.settings(only=REAL)))
    assert {name: told for name, told in results.items() if told != "done" and name not in missing_here()} == {}
