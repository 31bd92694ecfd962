"""Attempts to get out of a container, or at its host: run inside, as root, by `python3 escapes.py SETTINGS`.

Each attempt returns where it succeeded, and raises OSError where it was refused. It does as little as shows that it
could: a file is opened for writing, not written to. Each runs in a process of its own. The result is a JSON object:
an attempt's name to the name of the errno, to "done", or to what else went wrong.

It is one long file because it is brought into a container alone, and a flat list of attempts.

SETTINGS is a JSON object: `marker` is a file of the host, `socket` an abstract socket there, `pid` a
process; `only` names the attempts to make, all by default.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import platform
import signal
import socket
import struct
import sys
import termios
import traceback

ATTEMPTS = {}
SETTINGS = {}
LIBC = ctypes.CDLL(None, use_errno=True)
# Of x86_64 and of all others (asm-generic/unistd.h).
X86_64 = platform.machine() == "x86_64"
NUMBERS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clock_settime": (227, 112),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_SHARED = 1, 2, 32, 4096, 8192, 16384, 1 << 20


def attempt(function):
    ATTEMPTS[function.__name__] = function
    return function


def check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def syscall(name, *arguments):
    number = NUMBERS[name][0 if X86_64 else 1]
    if number is None:
        raise OSError(errno.ENOSYS, "not on this architecture")
    return check(LIBC.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))


def mount(source, target, fstype=None, flags=0, data=None):
    words = [word.encode() if word is not None else None for word in (source, target, fstype)]
    check(LIBC.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None))


def umount(path, flags=2):
    check(LIBC.umount2(path.encode(), flags))


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY))


def open_device(kind, major, minor, flags=os.O_RDONLY):
    path = f"/tmp/device-{os.getpid()}"
    os.mknod(path, kind | 0o600, os.makedev(major, minor))
    try:
        os.close(os.open(path, flags))
    finally:
        os.unlink(path)


def read_marker(prefix):
    """Get at the host's file by a way that starts at ``prefix``."""
    with open(prefix + SETTINGS["marker"], encoding="ascii") as file:
        file.read()


def must_be_empty(path):
    if os.path.isdir(path):
        if not os.listdir(path):
            raise OSError(errno.EACCES, "masked")
        return
    with open(path, "rb") as file:
        if not file.read(1):
            raise OSError(errno.EACCES, "masked")


# Files of the kernel that steer the host.

for name, path in {
    "sysrq_trigger": "/proc/sysrq-trigger",
    "core_pattern": "/proc/sys/kernel/core_pattern",
    "modprobe_path": "/proc/sys/kernel/modprobe",
    "hotplug": "/proc/sys/kernel/hotplug",
    "panic_on_oom": "/proc/sys/vm/panic_on_oom",
    "host_name_by_sysctl": "/proc/sys/kernel/hostname",
    "ip_forward": "/proc/sys/net/ipv4/ip_forward",
    "binfmt_misc": "/proc/sys/fs/binfmt_misc/register",
    "interrupts_of_a_processor": "/proc/irq/default_smp_affinity",
    "mtrr": "/proc/mtrr",
    "uevent_helper": "/sys/kernel/uevent_helper",
    "huge_pages": "/sys/kernel/mm/transparent_hugepage/enabled",
    "power_state": "/sys/power/state",
    "profiling": "/sys/kernel/profiling",
    "device_rescan": "/sys/bus/pci/rescan",
    "driver_probe": "/sys/bus/platform/drivers_probe",
    "kernel_memory": "/proc/kcore",
}.items():
    ATTEMPTS[name] = lambda path=path: open_for_writing(path)

for name, path in {
    "read_kernel_memory": "/proc/kcore",
    "read_keys": "/proc/keys",
    "read_timers": "/proc/timer_list",
    "read_firmware": "/sys/firmware",
    "read_power_meters": "/sys/devices/virtual/powercap",
    "read_acpi": "/proc/acpi",
    "read_scsi": "/proc/scsi",
    "read_interrupts": "/proc/interrupts",
}.items():
    ATTEMPTS[name] = lambda path=path: must_be_empty(path)


@attempt
def kernel_memory_by_another_procfs():
    mount("proc", "/mnt", "proc")
    must_be_empty("/mnt/kcore")


# Mounts.


@attempt
def mount_tmpfs():
    mount("none", "/mnt", "tmpfs")


@attempt
def bind_the_root():
    mount("/", "/mnt", None, MS_BIND | MS_REC)


@attempt
def mount_a_procfs_over_proc():
    mount("proc", "/proc", "proc")


@attempt
def mount_a_sysfs():
    mount("sysfs", "/mnt", "sysfs")


@attempt
def mount_debugfs():
    mount("none", "/mnt", "debugfs")


@attempt
def mount_a_disk():
    major, minor = disk()
    path = f"/tmp/disk-{os.getpid()}"
    os.mknod(path, 0o60600, os.makedev(major, minor))
    try:
        for fstype in ("ext4", "xfs", "btrfs"):
            mount(path, "/mnt", fstype, MS_RDONLY)
    finally:
        os.unlink(path)


@attempt
def mount_an_overlay():
    mount("none", "/mnt", "overlay", 0, "lowerdir=/usr:/etc")


@attempt
def make_a_mount_shared():
    mount("none", "/", None, MS_SHARED | MS_REC)


@attempt
def move_a_mount():
    mount("/dev/shm", "/mnt", None, MS_MOVE)


@attempt
def remount_proc_sys_writable():
    mount("none", "/proc/sys", None, MS_REMOUNT | MS_BIND)
    open_for_writing("/proc/sys/kernel/core_pattern")


@attempt
def remount_sys_writable():
    mount("none", "/sys", None, MS_REMOUNT | MS_BIND)


@attempt
def remount_cgroups_writable():
    mount("none", "/sys/fs/cgroup", None, MS_REMOUNT | MS_BIND)


@attempt
def unmask_by_unmounting():
    umount("/proc/kcore")


@attempt
def make_writable_by_unmounting():
    umount("/proc/sys")


@attempt
def unmount_the_root():
    umount("/")


@attempt
def pivot_root():
    os.makedirs("/tmp/pivot", exist_ok=True)
    with contextlib.suppress(OSError):
        mount("/tmp/pivot", "/tmp/pivot", None, MS_BIND)
    os.makedirs("/tmp/pivot/old", exist_ok=True)
    syscall("pivot_root", b"/tmp/pivot", b"/tmp/pivot/old")


@attempt
def pivot_on_itself():
    syscall("pivot_root", b".", b".")


@attempt
def fsopen():
    os.close(syscall("fsopen", b"tmpfs", 0))


@attempt
def open_tree_clone():
    os.close(syscall("open_tree", -100, b"/", 1))


@attempt
def mount_setattr():
    syscall("mount_setattr", -100, b"/sys", 0, struct.pack("QQQQ", 0, 1, 0, 0), 32)


@attempt
def move_mount():
    syscall("move_mount", -100, b"/dev/shm", -100, b"/mnt", 0)


# Control groups.


@attempt
def release_agent_of_a_mount():
    with open("/proc/cgroups", encoding="ascii") as file:
        rows = [line.split() for line in file if not line.startswith("#")]
    mount("none", "/mnt", "cgroup", 0, next((row[0] for row in rows if row[1] != "0"), "devices"))
    open_for_writing("/mnt/release_agent")


@attempt
def release_agent():
    found = [f"/sys/fs/cgroup/{name}/release_agent" for name in os.listdir("/sys/fs/cgroup")]
    found = [path for path in found if os.path.exists(path)]
    if not found:
        raise OSError(errno.ENOENT, "there is none")
    open_for_writing(found[0])


@attempt
def make_a_cgroup():
    names = [name for name in os.listdir("/sys/fs/cgroup") if os.path.isdir(f"/sys/fs/cgroup/{name}")]
    os.mkdir(f"/sys/fs/cgroup/{names[0] if names else '.'}/stowage-test-escape")


@attempt
def leave_the_cgroup():
    for directory, _names, files in os.walk("/sys/fs/cgroup"):
        if "cgroup.procs" in files:
            open_for_writing(f"{directory}/cgroup.procs")
            return
    raise OSError(errno.ENOENT, "there is none")


@attempt
def lift_the_device_rules():
    open_for_writing("/sys/fs/cgroup/devices/devices.allow")


# Namespaces.


def unshare(flags):
    check(LIBC.unshare(flags))


@attempt
def unshare_user():
    unshare(CLONE_NEWUSER)


@attempt
def unshare_mount():
    unshare(CLONE_NEWNS)


@attempt
def unshare_network():
    unshare(CLONE_NEWNET)


@attempt
def clone_user():
    flags = CLONE_NEWUSER | signal.SIGCHLD
    pid = check(LIBC.syscall(56 if X86_64 else 220, *(ctypes.c_long(word) for word in (flags, 0, 0, 0, 0))))
    if pid == 0:
        os._exit(0)


@attempt
def clone3_user():
    arguments = struct.pack("11Q", CLONE_NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    if syscall("clone3", arguments, len(arguments)) == 0:
        os._exit(0)


def join(pid, kind):
    fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
    check(LIBC.setns(fd, 0))


@attempt
def join_the_mounts_of_pid_1():
    join(1, "mnt")


@attempt
def join_the_network_of_pid_1():
    join(1, "net")


@attempt
def join_by_pidfd():
    check(LIBC.setns(os.pidfd_open(1), CLONE_NEWNS | CLONE_NEWNET))


# Files of the host.


@attempt
def root_of_pid_1():
    read_marker("/proc/1/root")


@attempt
def working_directory_and_up():
    read_marker("/proc/1/cwd" + "/.." * 30)


@attempt
def up_from_where_it_starts():
    read_marker(os.getcwd() + "/.." * 30)


@attempt
def out_of_a_chroot():
    """A process that is above its root: chdir("..") goes on to the root of the mount namespace, and no further."""
    os.makedirs("/tmp/jail", exist_ok=True)
    fd = os.open("/", os.O_RDONLY)
    os.chroot("/tmp/jail")
    os.fchdir(fd)
    for _level in range(100):
        os.chdir("..")
    os.chroot(".")
    read_marker("")


@attempt
def by_a_leaked_descriptor():
    """/proc/<pid>/fd of all there is: a directory that leads further up than ours (CVE-2024-21626)."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                read_marker(f"/proc/{pid}/fd/{fd}" + "/.." * 30)
                return
            except OSError:
                continue
    raise OSError(errno.ENOENT, "no descriptor leads there")


@attempt
def descriptors_beyond_the_streams():
    if not {int(name) for name in SETTINGS["inherited"]} - {0, 1, 2}:
        raise OSError(errno.EBADF, "there are none")


@attempt
def shocker():
    """open_by_handle_at(2) with the handle of the root directory, through a file that the host has bound."""
    fd = os.open("/usr", os.O_RDONLY)
    handle = struct.pack("IiII", 8, 1, 2, 0)
    os.close(syscall("open_by_handle_at", fd, handle, os.O_RDONLY))


@attempt
def write_to_what_is_bound_read_only():
    os.close(os.open("/usr/stowage-test-escape", os.O_CREAT | os.O_WRONLY))


# Devices.


def disk():
    for name in sorted(os.listdir("/sys/block")):
        with open(f"/sys/block/{name}/dev", encoding="ascii") as file:
            major, minor = file.read().split(":")
            return int(major), int(minor)
    return 7, 0


@attempt
def read_a_disk():
    open_device(0o60000, *disk())


@attempt
def read_memory():
    open_device(0o20000, 1, 1)


@attempt
def read_ports():
    open_device(0o20000, 1, 4)


@attempt
def kernel_messages():
    open_device(0o20000, 1, 11, os.O_WRONLY)


@attempt
def fuse():
    open_device(0o20000, 10, 229, os.O_RDWR)


@attempt
def tun():
    open_device(0o20000, 10, 200, os.O_RDWR)


@attempt
def loop_control():
    open_device(0o20000, 10, 237, os.O_RDWR)


@attempt
def console_of_the_host():
    open_device(0o20000, 5, 1, os.O_RDWR | os.O_NOCTTY)


@attempt
def first_virtual_terminal():
    open_device(0o20000, 4, 1, os.O_RDWR | os.O_NOCTTY)


@attempt
def terminal_of_the_host():
    """A node of a pseudo terminal outside of a devpts: its number is another devpts's business."""
    open_device(0o20000, 136, 0, os.O_RDWR | os.O_NOCTTY)


@attempt
def terminals_of_others():
    others = [name for name in os.listdir("/dev/pts") if name not in {"ptmx", *SETTINGS.get("terminals", ())}]
    if not others:
        raise OSError(errno.ENOENT, "there are none")


@attempt
def type_into_the_callers_terminal():
    fcntl.ioctl(0, termios.TIOCSTI, b"x")


@attempt
def take_the_callers_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 1)


# The kernel itself.


@attempt
def load_a_module():
    syscall("init_module", b"", 0, b"")


@attempt
def load_a_module_file():
    with open("/dev/null", "rb") as file:
        syscall("finit_module", file.fileno(), b"", 0)


@attempt
def unload_a_module():
    syscall("delete_module", b"stowage_test", 0)


@attempt
def kexec():
    syscall("kexec_load", 0, 0, None, 0)


@attempt
def kexec_by_file():
    syscall("kexec_file_load", -1, -1, 0, None, 0)


@attempt
def reboot():
    syscall("reboot", 0xFEE1DEAD, 672274793, 0, None)  # LINUX_REBOOT_CMD_CAD_OFF


@attempt
def set_the_clock():
    syscall("settimeofday", struct.pack("qq", -1, 0), None)


@attempt
def set_the_clock_by_number():
    syscall("clock_settime", 0, struct.pack("qq", -1, 0))


@attempt
def swap_on():
    syscall("swapon", b"/nowhere", 0)


@attempt
def swap_off():
    syscall("swapoff", b"/nowhere")


@attempt
def io_privileges():
    syscall("iopl", 3)


@attempt
def io_ports():
    syscall("ioperm", 0x80, 1, 1)


@attempt
def load_a_bpf_program():
    syscall("bpf", 0, struct.pack("IIII", 2, 4, 8, 1) + bytes(104), 120)  # BPF_MAP_CREATE: an array


@attempt
def profile_the_host():
    attributes = struct.pack("IIQ", 1, 112, 0) + bytes(96)  # PERF_TYPE_SOFTWARE, all processes of a processor
    os.close(syscall("perf_event_open", attributes, -1, 0, -1, 0))


@attempt
def keys():
    syscall("keyctl", 0, -4, 0)  # KEYCTL_GET_KEYRING_ID of the user's keyring


@attempt
def add_a_key():
    key = syscall("add_key", b"user", b"stowage-test", b"x", 1, -4)
    syscall("keyctl", 9, key, -4)  # KEYCTL_UNLINK: leave none behind


@attempt
def request_a_key():
    syscall("request_key", b"user", b"stowage-test", None, -4)


@attempt
def userfaultfd():
    os.close(syscall("userfaultfd", 0))


@attempt
def io_uring():
    os.close(syscall("io_uring_setup", 1, bytes(120)))


@attempt
def fanotify():
    os.close(syscall("fanotify_init", 0, 0))


@attempt
def accounting():
    syscall("acct", b"/nowhere")


@attempt
def quotas():
    syscall("quotactl", 0x800001 << 8, None, 0, None)  # Q_SYNC


@attempt
def read_kernel_messages():
    syscall("syslog", 3, ctypes.create_string_buffer(64), 64)


@attempt
def hang_up():
    syscall("vhangup")


@attempt
def name_the_host():
    check(LIBC.sethostname(b"escaped", 7))


@attempt
def name_the_domain():
    syscall("setdomainname", b"escaped", 7)


@attempt
def virtual_machine_sockets():
    socket.socket(40, socket.SOCK_STREAM).close()


@attempt
def kernel_crypto_sockets():
    socket.socket(38, socket.SOCK_SEQPACKET).close()


@attempt
def abstract_socket_of_the_host():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + SETTINGS["socket"])


@attempt
def change_the_network():
    """RTM_NEWLINK: a pair of interfaces."""
    attribute = struct.pack("HH5sxxx", 9, 1, b"veth\0")  # IFLA_INFO_KIND
    info = struct.pack("HH", 4 + len(attribute), 18) + attribute
    body = struct.pack("BxHiII", 0, 0, 0, 0, 0) + info
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.send(struct.pack("IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
        answer = link.recv(4096)
    code = struct.unpack_from("i", answer, 16)[0]
    if code:
        raise OSError(-code, os.strerror(-code))


# Privileges.


@attempt
def processes_of_the_host():
    if {int(pid) for pid in os.listdir("/proc") if pid.isdigit()} <= {1, *range(1, 1000)}:
        raise OSError(errno.ESRCH, "there are none")


@attempt
def signal_a_process_of_the_host():
    os.kill(SETTINGS["pid"], 0)


@attempt
def trace_a_process_of_the_host():
    check(LIBC.ptrace(16, SETTINGS["pid"], 0, 0))  # PTRACE_ATTACH


@attempt
def read_a_process_of_the_host():
    buffer = ctypes.create_string_buffer(8)
    vector = struct.pack("PN", ctypes.addressof(buffer), 8)
    syscall("process_vm_readv", SETTINGS["pid"], vector, 1, vector, 1, 0)


@attempt
def more_capabilities():
    header = struct.pack("Ii", 0x20080522, 0)
    check(LIBC.capset(header, struct.pack("6I", *[0xFFFFFFFF] * 3, *[0x1FF] * 3)))


@attempt
def inheritable_capabilities():
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    if int(fields["CapInh"], 16) == int(fields["CapAmb"], 16) == 0:
        raise OSError(errno.EPERM, "there are none")


@attempt
def privileges_of_a_set_user_id_program():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        os.setgroups([])
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        code = "import os; os.write(1, b'%d' % os.geteuid())"
        os.execve("/srv/suid-python", ["python3", "-I", "-S", "-c", code], {})
    os.close(writer)
    told = os.read(reader, 16)
    os.waitpid(pid, 0)
    if told == b"1000":
        raise OSError(errno.EPERM, "none were given")
    if told != b"0":
        raise RuntimeError(f"it told {told!r}")


@attempt
def safety_from_the_oom_killer():
    with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
        file.write(str(int(file.read()) - 1))


@attempt
def higher_priority():
    os.setpriority(os.PRIO_PROCESS, 0, -1)


@attempt
def more_than_its_limits():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))
    except ValueError as error:
        raise OSError(errno.EPERM, str(error)) from error


def try_out(function):
    """The outcome of an attempt, in a child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        outcome = "done"
        try:
            signal.alarm(10)
            LIBC.unshare(CLONE_NEWNS)  # where that is let through, no attempt stands in the way of the next
            function()
        except OSError as error:
            outcome = errno.errorcode.get(error.errno, str(error))
        except BaseException:
            outcome = traceback.format_exc()
        os.write(writer, outcome.encode())
        os._exit(0)
    os.close(writer)
    parts = iter(lambda: os.read(reader, 65536), b"")
    outcome = b"".join(parts).decode()
    status = os.waitpid(pid, 0)[1]
    os.close(reader)
    return outcome or f"ended by {status}"


if __name__ == "__main__":
    SETTINGS.update(json.loads(sys.argv[1]))
    SETTINGS["inherited"] = [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
    SETTINGS["inherited"] += os.listdir("/proc/1/fd") if os.getpid() != 1 else []
    names = SETTINGS.get("only", ATTEMPTS)
    sys.stdout.write(json.dumps({name: try_out(ATTEMPTS[name]) for name in names}) + "\n")
