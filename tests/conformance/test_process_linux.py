# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config.md, Linux process: capabilities, privileges, scheduling and labels."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .cgroups import missing, no_real_time

item = pytest.mark.item

SETS = {
    "inheritable": "CapInh",
    "permitted": "CapPrm",
    "effective": "CapEff",
    "bounding": "CapBnd",
    "ambient": "CapAmb",
}
NUMBERS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10, "CAP_SYS_ADMIN": 21, "CAP_AUDIT_WRITE": 29}


def sets_inside(box):
    """Each set of the running program, as names; what execve(2) makes of them is the kernel's."""
    found = {}
    for line in box.sh("grep ^Cap /proc/self/status").splitlines():
        name, _colon, mask = line.partition(":")
        bits = int(mask, 16)
        found[name] = {known for known, number in NUMBERS.items() if bits >> number & 1}
        assert bits.bit_count() == len(found[name]), line
    return found


@item("config/process/capabilities/{name}")
@pytest.mark.parametrize("name", SETS)
def test_a_capability_set(box, name):
    few = ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]
    box.process["capabilities"] = {"bounding": few, "permitted": few, "effective": few}
    if name in ("inheritable", "ambient"):
        box.process["user"] = {"uid": 1000, "gid": 1000}
        box.process["capabilities"]["inheritable"] = few
    if name == "ambient":
        box.process["capabilities"]["ambient"] = ["CAP_CHOWN"]
    assert sets_inside(box)[SETS[name]] == ({"CAP_CHOWN"} if name == "ambient" else set(few))


@item("config/process/capabilities/ambient are effective for a user")
def test_ambient_capabilities_reach_the_program_of_a_user(box):
    few = ["CAP_CHOWN", "CAP_KILL"]
    box.process["user"] = {"uid": 1000, "gid": 1000}
    box.process["capabilities"] = {name: list(few) for name in SETS}
    found = sets_inside(box)
    assert found["CapEff"] == found["CapPrm"] == found["CapAmb"] == set(few)


@item("config/process/capabilities/a user has none")
def test_a_user_has_no_capability_without_ambient_ones(box):
    box.process["user"] = {"uid": 1000, "gid": 1000}
    box.process["capabilities"] = {name: ["CAP_CHOWN"] for name in ("bounding", "permitted", "effective")}
    found = sets_inside(box)
    assert found["CapEff"] == found["CapPrm"] == found["CapInh"] == set()


@item("config/process/capabilities/none")
def test_no_capabilities(box):
    box.process["capabilities"] = {}
    assert set().union(*sets_inside(box).values()) == set()


@item("config/process/capabilities/unknown")
def test_an_unknown_capability_is_a_warning(box):
    box.process["capabilities"]["bounding"].append("CAP_TEST")
    assert box.sh("echo inside") == "inside"


@item("config/process/capabilities/not grantable")
def test_a_capability_that_cannot_be_granted_is_a_warning(box):
    own = int(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0], 16)
    if own >> 24 & 1:
        pytest.skip("not on this machine: its root has CAP_SYS_RESOURCE, so that nothing is missing")
    for names in box.process["capabilities"].values():
        names.append("CAP_SYS_RESOURCE")
    assert box.sh("echo inside") == "inside"


@item("config/process/noNewPrivileges/{value}")
@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges(box, value):
    box.process["noNewPrivileges"] = value
    assert box.sh("grep ^NoNewPrivs /proc/self/status").split()[1] == str(int(value))


@item("config/process/oomScoreAdj")
def test_the_score_for_the_oom_killer(box):
    box.process["oomScoreAdj"] = 567
    assert box.sh("cat /proc/self/oom_score_adj") == "567"


@item("config/process/oomScoreAdj/unset")
def test_the_score_is_the_callers_where_it_is_unset(box):
    before = Path("/proc/self/oom_score_adj").read_text()
    higher = min(int(before) + 100, 1000)
    Path("/proc/self/oom_score_adj").write_text(str(higher))
    try:
        assert box.sh("cat /proc/self/oom_score_adj") == str(higher)
    finally:
        Path("/proc/self/oom_score_adj").write_text(before)


# Scheduling

POLICIES = {"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_IDLE": 5, "SCHED_DEADLINE": 6}
RESET_ON_FORK = 0x40000000


def scheduled(box, policy, **more):
    """The policy of a running container's init, with its flags."""
    box.process["scheduler"] = {"policy": policy, **more}
    if policy in ("SCHED_FIFO", "SCHED_RR") and not missing("cpu", "cpu.rt_runtime_us"):
        if no_real_time():
            pytest.skip(f"not on this kernel now: {no_real_time()}")
        box.resources["cpu"] = {"realtimePeriod": 1_000_000, "realtimeRuntime": 1000}
    box.start()
    return os.sched_getscheduler(box.pid())


@item("config/process/scheduler/policy/{policy}")
@pytest.mark.parametrize("policy", ["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE"])
def test_policies_of_the_fair_scheduler(box, policy):
    assert scheduled(box, policy) == POLICIES[policy]


@item("config/process/scheduler/policy/{policy}")
@pytest.mark.parametrize("policy", ["SCHED_FIFO", "SCHED_RR"])
def test_policies_of_real_time(box, policy):
    assert scheduled(box, policy, priority=3) == POLICIES[policy]
    assert os.sched_getparam(box.pid()).sched_priority == 3


@item("config/process/scheduler/policy/SCHED_DEADLINE")
def test_deadlines(box):
    some = {"runtime": 1_000_000, "deadline": 10_000_000, "period": 10_000_000}
    assert scheduled(box, "SCHED_DEADLINE", flags=["SCHED_FLAG_RESET_ON_FORK"], **some) & ~RESET_ON_FORK == 6


@item("config/process/scheduler/policy/SCHED_ISO")
def test_a_policy_that_linux_does_not_have_is_refused(box):
    box.process["scheduler"] = {"policy": "SCHED_ISO"}
    box.refuse_to_run()


@item("config/process/scheduler/policy/unknown")
def test_an_unknown_policy_is_refused(box):
    box.process["scheduler"] = {"policy": "SCHED_NOTHING"}
    box.refuse()


@item("config/process/scheduler/nice")
def test_the_nice_value(box):
    assert scheduled(box, "SCHED_OTHER", nice=7) == 0
    assert os.getpriority(os.PRIO_PROCESS, box.pid()) == 7


@item("config/process/scheduler/flags")
def test_flags_of_the_scheduler(box):
    assert scheduled(box, "SCHED_BATCH", flags=["SCHED_FLAG_RESET_ON_FORK"]) == POLICIES["SCHED_BATCH"] | RESET_ON_FORK


@item("config/process/scheduler/flags/unknown")
def test_unknown_flags_of_the_scheduler_are_refused(box):
    box.process["scheduler"] = {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOTHING"]}
    box.refuse()


IO_CLASSES = {
    "IOPRIO_CLASS_RT": "realtime: prio 4",
    "IOPRIO_CLASS_BE": "best-effort: prio 4",
    "IOPRIO_CLASS_IDLE": "idle",
}


@item("config/process/ioPriority/{name}")
@pytest.mark.parametrize("name", IO_CLASSES)
def test_the_priority_of_input_and_output(box, name):
    box.process["ioPriority"] = {"class": name, "priority": 4}
    assert box.sh("ionice -p 1").startswith(IO_CLASSES[name])


@item("config/process/ioPriority/unknown class")
def test_an_unknown_class_of_io_priority_is_refused(box):
    box.process["ioPriority"] = {"class": "IOPRIO_CLASS_NOTHING", "priority": 4}
    box.refuse()


@item("config/process/ioPriority/out of range")
def test_an_io_priority_beyond_seven_is_refused(box):
    box.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 8}
    box.refuse_to_run()


def affinity_of_exec(box, **affinity):
    """Which CPUs a process that enters the container may run on, and which its init."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("not on this machine: it has one CPU")
    cpu = str(max(os.sched_getaffinity(0)))
    box.process["execCPUAffinity"] = dict.fromkeys(affinity, cpu)
    box.start()
    inside = box.exec("grep ^Cpus_allowed_list /proc/self/status").split()[1]
    return cpu, inside, os.sched_getaffinity(box.pid())


@item("config/process/execCPUAffinity/final")
def test_the_cpus_of_an_entered_process(box):
    cpu, inside, of_init = affinity_of_exec(box, final=True)
    assert inside == cpu
    assert of_init == os.sched_getaffinity(0)


@item("config/process/execCPUAffinity/initial")
def test_the_cpus_before_the_cgroup_is_entered(box):
    _cpu, _inside, of_init = affinity_of_exec(box, initial=True)
    assert of_init == os.sched_getaffinity(0)


@item("config/process/execCPUAffinity/of exec --process")
def test_the_cpus_of_one_entered_process(box):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("not on this machine: it has one CPU")
    cpu = str(max(os.sched_getaffinity(0)))
    box.start()
    process = {**box.process, "args": ["grep", "^Cpus_allowed_list", "/proc/self/status"]}
    process["execCPUAffinity"] = {"final": cpu}
    (box.directory / "process.json").write_text(json.dumps(process))
    assert box.must("exec", "--process", str(box.directory / "process.json"), box.id).split()[1] == cpu


@item("config/process/execCPUAffinity/invalid")
def test_a_wrong_list_of_cpus_is_refused(box):
    box.process["execCPUAffinity"] = {"initial": "zero"}
    box.refuse()


# Labels: where the kernel has no such module, the property cannot be applied, which is an error


@item("config/process/apparmorProfile")
def test_the_apparmor_profile(box):
    box.process["apparmorProfile"] = "unconfined"
    if not Path("/sys/kernel/security/apparmor").is_dir():
        box.process["apparmorProfile"] = "acme_secure_profile"
        box.refuse_to_run()
        box.note = "not on this kernel: it has no AppArmor; refused, as it should be"
        return
    assert box.sh("cat /proc/self/attr/apparmor/current || cat /proc/self/attr/current").startswith("unconfined")


@item("config/process/selinuxLabel")
def test_the_selinux_label(box):
    box.process["selinuxLabel"] = "system_u:system_r:svirt_lxc_net_t:s0:c124,c675"
    if not Path("/sys/fs/selinux/enforce").exists():
        box.refuse_to_run()
        box.note = "not on this kernel: it has no SELinux; refused, as it should be"
        return
    assert box.sh("cat /proc/self/attr/current").rstrip("\0") == box.process["selinuxLabel"]
