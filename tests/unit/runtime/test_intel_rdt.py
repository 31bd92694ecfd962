"""Classes of service on a resctrl that is a directory: no machine of ours has the real one."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption, RuntimeFailed
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.intel_rdt import (
    ClassOfService,
    EnterClasses,
    parse_schemata,
    remove_classes,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.intel_rdt_stats import observe_classes


@pytest.fixture
def resctrl(tmp_path):
    """What the kernel has at the root; a directory that is made gets no files here, as it would there."""
    (tmp_path / "info").mkdir()
    (tmp_path / "info/last_cmd_status").write_text("ok\n")
    (tmp_path / "mon_groups").mkdir()
    (tmp_path / "schemata").write_text("    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n")
    (tmp_path / "tasks").write_text("")
    return tmp_path


def add_class(resctrl, name, schemata):
    (resctrl / name).mkdir()
    (resctrl / name / "schemata").write_text(schemata)
    (resctrl / name / "tasks").write_text("")
    (resctrl / name / "mon_groups").mkdir()


def test_a_class_of_the_containers_own_is_made_and_removed(resctrl):
    schemata = {"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20", "schemata": ["L2:0=f", "L2:1=f"]}
    classes = ClassOfService(str(resctrl), schemata, "web")
    classes.check()
    classes.prepare()
    # The specification's order: caches, then bandwidth, then what is free.
    assert (resctrl / "web/schemata").read_text() == "L3:0=f\nMB:0=20\nL2:0=f\nL2:1=f\n"
    assert classes.record == {"groups": [str(resctrl / "web")], "made": [str(resctrl / "web")]}
    (resctrl / "web/schemata").unlink()  # on resctrl a directory's files go with it
    remove_classes(classes.record["made"])
    assert not (resctrl / "web").exists()
    remove_classes(classes.record["made"])


def test_without_schemata_none_are_written(resctrl):
    classes = ClassOfService(str(resctrl), {}, "web")
    classes.check()
    classes.prepare()
    assert not (resctrl / "web/schemata").exists()


def test_a_named_class_is_not_removed(resctrl):
    classes = ClassOfService(str(resctrl), {"closID": "gold", "memBwSchema": "MB:0=20"}, "web")
    classes.check()
    classes.prepare()
    assert (resctrl / "gold/schemata").read_text() == "MB:0=20\n"
    assert classes.record == {"groups": [str(resctrl / "gold")], "made": []}


def test_a_named_class_without_schemata_must_be_there(resctrl):
    with pytest.raises(InvalidOption, match=r"linux\.intelRdt\.closID: 'gold' .* a class that exists"):
        ClassOfService(str(resctrl), {"closID": "gold"}, "web").check()
    add_class(resctrl, "gold", "MB:0=10\n")
    classes = ClassOfService(str(resctrl), {"closID": "gold"}, "web")
    classes.check()
    classes.prepare()
    assert (resctrl / "gold/schemata").read_text() == "MB:0=10\n"


@pytest.mark.parametrize("schemata", [["L3:0=07ff"], ["L3:1=7FF;0=7ff"], ["MB:0=100", "L3:0=7ff"]])
def test_a_class_that_exists_is_compared_by_its_values(resctrl, schemata):
    add_class(resctrl, "gold", "    MB:0= 100;1=100\n    L3:0=7ff;1=7ff\n")
    classes = ClassOfService(str(resctrl), {"closID": "gold", "schemata": schemata}, "web")
    classes.check()
    classes.prepare()
    assert "7ff;1" in (resctrl / "gold/schemata").read_text(), "it was written to"


@pytest.mark.parametrize("schemata", [["L3:0=7f"], ["L3:2=7ff"], ["MB:0=10"], ["L2:0=7ff"], ["L3"], ["L3:a=b"]])
def test_a_class_that_exists_and_differs_is_refused(resctrl, schemata):
    add_class(resctrl, "gold", "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n")
    with pytest.raises(InvalidOption, match=r"linux\.intelRdt"):
        ClassOfService(str(resctrl), {"closID": "gold", "schemata": schemata}, "web").check()


@pytest.mark.parametrize("name", ["info", "mon_groups", "../etc", "a/b"])
def test_a_class_is_a_directory_of_resctrl(resctrl, name):
    with pytest.raises(InvalidOption, match="closID"):
        ClassOfService(str(resctrl), {"closID": name, "memBwSchema": "MB:0=10"}, "web").check()


@pytest.mark.parametrize(("settings", "at"), [({"closID": "/"}, ""), ({"closID": "gold"}, "gold/"), ({}, "web/")])
def test_a_group_for_monitoring_ends_with_the_container(resctrl, settings, at):
    add_class(resctrl, "gold", "MB:0=10\n")
    if not settings:
        add_class(resctrl, "web", "")
    classes = ClassOfService(str(resctrl), {**settings, "enableMonitoring": True}, "web")
    classes.check()
    classes.prepare()
    group = resctrl / f"{at}mon_groups/web"
    assert group.is_dir()
    assert classes.record["made"] == [str(group)]
    assert classes.record["groups"] == [str(group.parent.parent), str(group)]
    remove_classes(classes.record["made"])
    assert not group.exists()


def test_what_the_kernel_says_is_told_and_nothing_stays(resctrl):
    (resctrl / "info/last_cmd_status").write_text("Out of monitoring groups\n")
    (resctrl / "gold").mkdir()  # without mon_groups
    settings = {"closID": "gold", "enableMonitoring": True}
    with pytest.raises(RuntimeFailed, match=r"mon_groups/web: No such file or directory \(Out of monitoring groups\)"):
        ClassOfService(str(resctrl), settings, "web").prepare()
    with pytest.raises(RuntimeFailed, match="mon_groups"):
        ClassOfService(str(resctrl), {"enableMonitoring": True}, "web").prepare()
    assert not (resctrl / "web").exists()


def test_a_process_enters_by_writing_nought(resctrl):
    add_class(resctrl, "gold", "")
    EnterClasses({"groups": [str(resctrl), str(resctrl / "gold")]}).execute()
    assert [(resctrl / name / "tasks").read_text() for name in ("", "gold")] == ["0", "0"]


def test_schemata_are_numbers_of_their_own_base():
    found = parse_schemata(["  L3:0=00ff;1=f", "MB:0=20", "L3CODE:0=1", "SMBA:0=2048", ""])
    assert found == {
        ("L3", "0"): 0xFF, ("L3", "1"): 0xF, ("MB", "0"): 20, ("L3CODE", "0"): 1, ("SMBA", "0"): 2048
    }  # fmt: skip


def fill(directory, files):
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_text(f"{content}\n")


def test_what_a_class_has_is_told_as_runc_tells_it(resctrl):
    """Its types/events.go: of what the hardware has, with nothing that is zero, but for what is monitored."""
    add_class(resctrl, "gold", "    MB:0=20;1=100\n    L3:0=f;1=7ff\n")
    record = {"groups": [str(resctrl / "gold")], "made": []}
    assert observe_classes(record) == {"schemata": ["MB:0=20;1=100", "    L3:0=f;1=7ff"]}
    fill(resctrl / "info/L3", {"cbm_mask": "7ff", "min_cbm_bits": "1", "num_closids": "16"})
    fill(resctrl / "info/MB", {"bandwidth_gran": 10, "delay_linear": 0, "min_bandwidth": 10, "num_closids": 8})
    assert observe_classes(record) == {
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "l3_cache_schema": "L3:0=f;1=7ff",
        "mem_bw_info": {"bandwidth_gran": 10, "min_bandwidth": 10, "num_closids": 8},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0=20;1=100",
        "schemata": ["MB:0=20;1=100", "    L3:0=f;1=7ff"],
    }


def test_schemata_of_other_resources_are_not_taken_for_these(resctrl):
    add_class(resctrl, "gold", "SMBA:0=2048\nL3CODE:0=f\n")
    fill(resctrl / "info/L3", {"cbm_mask": "7ff", "min_cbm_bits": 0, "num_closids": 0})
    found = observe_classes({"groups": [str(resctrl / "gold")]})
    assert found == {
        "l3_cache_info": {"cbm_mask": "7ff"},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "schemata": ["SMBA:0=2048", "L3CODE:0=f"],
    }


def test_what_is_monitored_is_the_containers_own_group(resctrl):
    """By cache. A counter that the kernel cannot read now is 0."""
    fill(resctrl / "info/L3_MON", {"mon_features": "llc_occupancy\nmbm_total_bytes"})
    settings = {"closID": "/", "enableMonitoring": True}
    classes = ClassOfService(str(resctrl), settings, "web")
    classes.check()
    classes.prepare()
    group = resctrl / "mon_groups/web"
    fill(group / "mon_data/mon_L3_01", {"llc_occupancy": 4096, "mbm_total_bytes": "Unavailable"})
    fill(group / "mon_data/mon_L3_00", {"llc_occupancy": 0, "mbm_total_bytes": 1 << 40})
    found = observe_classes(classes.record)
    assert {name: value for name, value in found.items() if name != "schemata"} == {
        "mbm_stats": [
            {"mbm_total_bytes": 1 << 40, "mbm_local_bytes": 0},
            {"mbm_total_bytes": 0, "mbm_local_bytes": 0},
        ],
        "cmt_stats": [{"llc_occupancy": 0}, {"llc_occupancy": 4096}],
    }
    (resctrl / "info/L3_MON/mon_features").write_text("llc_occupancy\n")
    assert "mbm_stats" not in observe_classes(classes.record)


def test_a_class_of_a_resctrl_that_is_no_more_mounted_is_nothing(tmp_path):
    assert observe_classes({"groups": [str(tmp_path / "gold")]}) == {}
