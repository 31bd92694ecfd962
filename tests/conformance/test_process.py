# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config.md, Process: what every platform has, and the user."""

from __future__ import annotations

import os
import resource

import pytest

from .terminal import run_on_terminal

item = pytest.mark.item


@item("config/process/args")
def test_arguments_arrive_as_they_are(box):
    done = box.run("sh", "-c", 'printf "%s|" "$@"', "zero", "one two", "", "$HOME", "é")
    assert done.stdout == "one two||$HOME|é|"


@item("config/process/args/sought in PATH")
def test_the_program_is_sought_in_the_path_of_env(box):
    (box.rootfs / "mine").mkdir()
    (box.rootfs / "mine/program").write_text("#!/bin/sh\necho found\n")
    (box.rootfs / "mine/program").chmod(0o755)
    box.process["env"] = ["PATH=/nowhere:/mine:/bin"]
    assert box.run("program").stdout == "found\n"


@item("config/process/args/absolute")
def test_a_program_by_its_path(box):
    assert box.run("/bin/echo", "found").stdout == "found\n"


@item("config/process/args/none")
def test_one_argument_is_required(box):
    box.process["args"] = []
    box.write()
    assert box.call("create", "--bundle", str(box.directory), box.id).returncode != 0
    assert box.call("state", box.id).returncode != 0


@item("config/process/args/not there")
def test_a_missing_program_is_an_error(box):
    done = box.run("/bin/nothing-like-it")
    assert done.returncode != 0
    assert "nothing-like-it" in done.stderr


@item("config/process/env")
def test_the_environment_is_exactly_what_is_given(box):
    box.process["env"] = ["PATH=/bin", "ONE=1", "EMPTY=", "TWO=a=b c"]
    done = box.run("cat", "/proc/self/environ")
    # HOME is the one that runtimes add.
    words = {word for word in done.stdout.split("\0") if word and not word.startswith("HOME=")}
    assert words == {"PATH=/bin", "ONE=1", "EMPTY=", "TWO=a=b c"}


@item("config/process/env/twice")
def test_of_two_values_the_last_one_is_seen_or_both(box):
    box.process["env"] = ["PATH=/bin", "ONE=first", "ONE=last"]
    assert "ONE=last" in box.run("cat", "/proc/self/environ").stdout.split("\0")


@item("config/process/cwd")
def test_the_working_directory(box):
    box.process["cwd"] = "/data"
    assert box.sh("pwd") == "/data"


@item("config/process/cwd/relative")
def test_a_relative_working_directory_is_refused(box):
    box.process["cwd"] = "data"
    box.refuse()


@item("config/process/cwd/missing")
def test_a_working_directory_is_required(box):
    del box.process["cwd"]
    box.refuse()


@item("config/process/terminal/true")
def test_a_terminal(box):
    said = run_on_terminal(box, "tty; test -t 0 && test -t 1 && test -t 2 && echo all")
    assert said.splitlines() == ["/dev/pts/0", "all"]


@item("config/process/terminal/false")
def test_no_terminal(box):
    box.process["terminal"] = False
    done = box.run("tty")
    assert done.stdout == "not a tty\n"


@item("config/process/consoleSize")
def test_the_size_of_the_terminal(box):
    box.process["consoleSize"] = {"height": 33, "width": 77}
    assert run_on_terminal(box, "stty size") == "33 77"


@item("config/process/consoleSize/without a terminal")
def test_the_size_is_ignored_without_a_terminal(box):
    box.process["consoleSize"] = {"height": 33, "width": 77}
    assert box.sh("echo inside") == "inside"


# User


@item("config/process/user/uid and gid")
def test_the_user(box):
    box.process["user"] = {"uid": 1000, "gid": 2000}
    assert box.sh("id -u; id -g; grep ^Uid: /proc/self/status").split() == ["1000", "2000", "Uid:", *["1000"] * 4]


@item("config/process/user/additionalGids")
def test_additional_groups(box):
    box.process["user"] = {"uid": 1000, "gid": 2000, "additionalGids": [5, 6]}
    assert set(box.sh("grep ^Groups: /proc/self/status").split()[1:]) - {"2000"} == {"5", "6"}


@item("config/process/user/additionalGids/none")
def test_no_group_of_the_callers_stays(box):
    done = box.run("grep", "^Groups:", "/proc/self/status", extra_groups=[7, 8])
    assert set(done.stdout.split()[1:]) <= {"0"}, done.stderr


@item("config/process/user/umask")
def test_the_umask(box):
    box.process["user"]["umask"] = 0o077
    assert box.sh("umask") == "0077"


@item("config/process/user/umask/unset")
def test_an_unset_umask_is_the_callers(box):
    assert box.sh("umask", umask=0o027) == "0027"


# POSIX process: limits

# No more than this machine's root may have: it may lack CAP_SYS_RESOURCE.
LIMITS = {
    "RLIMIT_AS": ("Max address space", 1 << 30, 2 << 30),
    "RLIMIT_CORE": ("Max core file size", 0, 4096),
    "RLIMIT_CPU": ("Max cpu time", 60, 120),
    "RLIMIT_DATA": ("Max data size", 1 << 29, 1 << 30),
    "RLIMIT_FSIZE": ("Max file size", 1 << 20, 1 << 21),
    "RLIMIT_LOCKS": ("Max file locks", 10, 20),
    "RLIMIT_MEMLOCK": ("Max locked memory", 4096, 8192),
    "RLIMIT_MSGQUEUE": ("Max msgqueue size", 4096, 8192),
    "RLIMIT_NICE": ("Max nice priority", 0, 0),
    "RLIMIT_NOFILE": ("Max open files", 256, 512),
    "RLIMIT_NPROC": ("Max processes", 500, 1000),
    "RLIMIT_RSS": ("Max resident set", 1 << 29, 1 << 30),
    "RLIMIT_RTPRIO": ("Max realtime priority", 0, 0),
    "RLIMIT_RTTIME": ("Max realtime timeout", 1 << 20, 1 << 21),
    "RLIMIT_SIGPENDING": ("Max pending signals", 100, 200),
    "RLIMIT_STACK": ("Max stack size", 1 << 20, 1 << 22),
}


def limit_inside(box, name):
    for line in box.sh("cat /proc/self/limits").splitlines():
        if line.startswith(name):
            return line[len(name) :].split()[:2]
    raise AssertionError(f"/proc/self/limits does not tell {name}")


@item("config/process/rlimits/{name}")
@pytest.mark.parametrize("name", LIMITS)
def test_a_resource_limit(box, name):
    told, soft, hard = LIMITS[name]
    box.process["rlimits"] = [{"type": name, "soft": soft, "hard": hard}]
    assert limit_inside(box, told) == [str(soft), str(hard)]


@item("config/process/rlimits/no limit")
def test_a_limit_may_be_none(box):
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("not on this machine: RLIMIT_FSIZE has a hard limit already")
    box.process["rlimits"] = [{"type": "RLIMIT_FSIZE", "soft": (1 << 64) - 1, "hard": (1 << 64) - 1}]
    assert limit_inside(box, "Max file size") == ["unlimited", "unlimited"]


@item("config/process/rlimits/unknown")
def test_an_unknown_limit_is_refused(box):
    box.process["rlimits"] = [{"type": "RLIMIT_TEST", "soft": 1, "hard": 1}]
    box.refuse()


@item("config/process/rlimits/twice")
def test_a_limit_is_given_once(box):
    box.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}] * 2
    box.refuse()


@item("config/process/rlimits/soft above hard")
def test_a_soft_limit_above_the_hard_one_is_an_error(box):
    box.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 65, "hard": 64}]
    box.refuse_to_run()


@item("config/hostname")
def test_the_host_name(box):
    box.spec["hostname"] = "mrsdalloway"
    assert box.sh("hostname") == "mrsdalloway"
    assert os.uname().nodename != "mrsdalloway"


@item("config/domainname")
def test_the_domain_name(box):
    box.spec["domainname"] = "foobarbaz.test"
    assert box.sh("cat /proc/sys/kernel/domainname") == "foobarbaz.test"
