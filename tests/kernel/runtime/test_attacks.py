"""Escapes through paths that hit others, tried on ours: each test is named after the CVE whose attack it makes.

Where the attack is a race, another process swaps a directory and a link in a volume all the time, as a second container
that shares the volume would. Each of these attacks works on a copy of the code that is weakened in the one place.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from tests.kernel.runtime.bundles import swapping

RUNS = 12


@pytest.fixture
def raced(box):
    """A volume where ``swap`` is now a directory, now a link to a directory of the host's, ``victim``."""
    volume, victim = box.directory / "volume", box.directory / "victim"
    (volume / "swap/target").mkdir(parents=True)
    (victim / "target").mkdir(parents=True)
    (victim / "target/genuine").touch()
    (volume / "link").symlink_to(victim)
    with swapping(volume / "swap", volume / "link", box.directory / "swaps"):
        yield volume, victim


def test_cve_2021_30465_a_mount_is_not_redirected_to_a_later_source(box, raced):
    """The first mount's destination is raced to the host's path of what the second one binds: then the container is
    given the attacker's directory, and with a link in that whatever it wants."""
    volume, victim = raced
    (box.directory / "evil").mkdir()
    (box.directory / "evil/planted").touch()
    box.bind(volume, "/volume")
    box.bind(box.directory / "evil", "/volume/swap/target")
    box.bind(victim / "target", "/safe")
    for _count in range(RUNS):
        assert box.sh("ls /safe") == "genuine"


def test_cve_2021_30465_nor_is_what_is_done_to_a_mount_after_it(box, raced):
    """A read-only bind: with mount(2) the flags take a second look at the path, and another mount would get them."""
    volume, victim = raced
    (box.directory / "data").mkdir()
    inside = box.rootfs / str(victim).lstrip("/") / "target"  # where the link leads in the container
    inside.mkdir(parents=True)
    box.bind(volume, "/volume")
    box.bind(box.directory / "data", "/volume/swap/target", "ro", "nosuid")
    for _count in range(RUNS):
        mounts = box.sh("grep -E ' (/volume/|/dev/shm/).*target ' /proc/self/mountinfo").splitlines()
        assert len(mounts) == 1, mounts
        assert {"ro", "nosuid"} <= set(mounts[0].split()[5].split(",")), mounts


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_cve_2024_45310_nothing_is_made_on_the_host(box, raced, kind):
    volume, victim = raced
    source = box.directory / "source"
    source.mkdir() if kind == "directory" else source.touch()
    box.bind(volume, "/volume")
    box.bind(source, "")
    for count in range(RUNS):
        # What is there already need not be made.
        box.spec["mounts"][-1]["destination"] = f"/volume/swap/one{count}/two/three"
        done = box.run("true")
        assert os.listdir(victim) == ["target"]
        assert done.returncode == 0, done.stderr


def test_cve_2019_19921_proc_is_no_directory_of_an_image(box):
    (box.rootfs / "elsewhere").mkdir()
    (box.rootfs / "proc").symlink_to("elsewhere")
    assert "must be mounted on ordinary directory" in box.refuse()


def test_cve_2023_27561_nor_of_a_volume(box):
    """A volume is mounted first, and /proc of the image leads into it."""
    (box.directory / "volume/fake").mkdir(parents=True)
    (box.rootfs / "proc").symlink_to("/volume/fake")
    volume = {"source": str(box.directory / "volume"), "destination": "/volume", "options": ["bind"]}
    box.spec["mounts"].insert(0, volume)
    assert "must be mounted on ordinary directory" in box.refuse()


@pytest.mark.parametrize("destination", ["/proc/self/attr", "/way/sys/kernel", "/proc"])
def test_cve_2023_27561_no_volume_covers_part_of_proc(box, destination):
    """Also by way of a link of the image."""
    (box.directory / "fake").mkdir()
    (box.rootfs / "way").symlink_to("/proc")
    box.bind(box.directory / "fake", destination)
    told = box.refuse()
    assert "inside of a procfs" in told or "only a procfs" in told, told


def test_cve_2025_31133_a_mask_is_the_hosts_null_device(box):
    """A /dev of the image's, or of a volume's, whose null is a link to what the attacker wants to write to."""
    fake = box.directory / "fake-dev"
    (fake / "pts").mkdir(parents=True)
    (fake / "null").symlink_to("/proc/sys/kernel/hostname")
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if not entry["destination"].startswith("/dev")]
    box.bind(fake, "/dev")
    box.linux["maskedPaths"] = ["/proc/keys", "/proc/timer_list"]
    assert box.sh("stat -c %t:%T /proc/keys /proc/timer_list").split() == ["1:3", "1:3"]


def test_cve_2025_31133_nor_is_a_default_device_a_link(box):
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if not entry["destination"].startswith("/dev")]
    (box.rootfs / "dev").mkdir()
    (box.rootfs / "dev/null").symlink_to("/proc/sys/kernel/hostname")
    assert "make the device /dev/null: there is something else" in box.refuse()


def test_cve_2025_31133_masks_hold_while_null_is_swapped(box):
    fake = box.directory / "fake-dev"
    fake.mkdir()
    os.mknod(fake / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (fake / "link").symlink_to("/proc/sys/kernel/hostname")
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if not entry["destination"].startswith("/dev")]
    box.bind(fake, "/dev")
    box.linux["maskedPaths"] = ["/proc/keys"]
    with swapping(fake / "null", fake / "link", box.directory / "swaps"):
        for _count in range(RUNS):
            assert box.sh("stat -c %t:%T /proc/keys") == "1:3"


def test_cve_2025_52881_a_sysctl_is_not_written_to_what_looks_like_it(box):
    """The runtime's own /proc is covered where it writes: the kernel is told all the same, and nobody else."""
    fake = box.directory / "fake"
    (fake / "ipv4").mkdir(parents=True)
    (fake / "ipv4/ip_forward").write_text("untouched")
    cover = f'mount --make-rprivate / && mount --bind {fake} /proc/sys/net && exec "$@"'
    box.wrapper = ["unshare", "--mount", "sh", "-c", cover, "sh"]
    box.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    assert box.sh("cat /proc/sys/net/ipv4/ip_forward") == "1"
    assert (fake / "ipv4/ip_forward").read_text() == "untouched"


@pytest.fixture
def elsewhere():
    """Not below /dev, where temporary files may be: a link at /dev to there would lead to itself."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        yield Path(directory)


def test_cve_2026_41579_a_link_at_dev_leads_inside(box, elsewhere):
    """And what runc removed and made at the host's place of it is let alone."""
    victim = elsewhere / "victim"
    victim.mkdir()
    (victim / "ptmx").write_text("untouched")
    (box.rootfs / "dev").symlink_to(f"../../../../../../../..{victim}")
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if not entry["destination"].startswith("/dev")]
    assert box.sh(f"readlink {victim}/ptmx; stat -c %t:%T /dev/null").split() == ["pts/ptmx", "1:3"]
    assert os.listdir(victim) == ["ptmx"]
    assert (victim / "ptmx").read_text() == "untouched"


def test_cve_2026_41579_also_while_dev_is_swapped(box, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "ptmx").write_text("untouched")
    (box.rootfs / "dev").mkdir()
    (box.rootfs / "link").symlink_to(f"../../../../../../../..{victim}")
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if not entry["destination"].startswith("/dev")]
    with swapping(box.rootfs / "dev", box.rootfs / "link", box.directory / "swaps"):
        for _count in range(RUNS):
            box.run("true")
            assert os.listdir(victim) == ["ptmx"]
    assert (victim / "ptmx").read_text() == "untouched"


def test_cve_2022_29162_inheritable_capabilities_are_empty(box):
    """Also of what enters, and of the configuration that is written for people to start from."""
    box.start()
    shown = box.call("exec", box.id, "grep", "CapInh", "/proc/1/status", "/proc/self/status").stdout
    assert shown.split()[1::2] == ["0" * 16, "0" * 16]
    box.call("spec", "-b", str(box.directory / "victim"), cwd=box.directory)
    os.remove(box.directory / "config.json")
    assert box.call("spec", "-b", str(box.directory)).returncode == 0
    assert '"inheritable": [\n' not in (box.directory / "config.json").read_text()


@pytest.mark.parametrize("way", ["/proc/self/fd/{}", "/proc/thread-self/fd/{}", "/link{}"])
def test_cve_2024_21626_no_working_directory_is_a_descriptor_of_the_runtimes(box, way):
    """The host's directories that it has open while it sets the container up are not there to start in."""
    for number in range(3, 16):
        (box.rootfs / f"link{number}").symlink_to(f"/proc/self/fd/{number}")
        box.spec["process"]["cwd"] = way.format(number)
        done = box.run("pwd -P; ls -a")
        assert done.returncode != 0, done
        assert done.stdout == ""


def leak(box):
    """Have whoever calls the runtime leave it a directory of the host's, open on 3 and on 9."""
    directory = box.directory / "host"
    directory.mkdir()
    (directory / "genuine").touch()
    box.wrapper = ["sh", "-c", f'exec 3<{directory} 9<{directory} && exec "$@"', "sh"]


@pytest.mark.parametrize("passed_on", [(), ("--preserve-fds", "1")])
def test_cve_2024_21626_nor_one_of_its_callers(box, passed_on):
    """It is closed; and where the container is to have it, it is no place to start in all the same."""
    leak(box)
    box.spec["process"].update(cwd="/proc/self/fd/3", args=["ls", "-a"])
    box.write()
    done = box.call("run", *passed_on, "-b", str(box.directory), box.id)
    assert done.returncode != 0, done
    assert "genuine" not in done.stdout


@pytest.mark.parametrize("passed_on", [(), ("--preserve-fds", "1")])
def test_cve_2024_21626_nor_does_an_entered_process_start_there(box, passed_on):
    """Where it can see itself in the container's /proc before it is in there: without a pid namespace."""
    box.linux["namespaces"].remove({"type": "pid"})
    box.start()
    leak(box)
    done = box.call("exec", *passed_on, "--cwd", "/proc/self/fd/3", box.id, "ls", "-a")
    assert done.returncode != 0, done
    assert "genuine" not in done.stdout


def test_cve_2024_21626_an_entered_process_has_no_descriptor_but_its_streams(box):
    box.start()
    leak(box)
    assert box.call("exec", box.id, "ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]  # 3 is ls's own


@pytest.mark.parametrize("namespaced", [True, False])
def test_cve_2023_25809_read_only_cgroups_are_all_read_only(box, namespaced):
    if namespaced:
        box.linux["namespaces"].append({"type": "cgroup"})
    box.spec["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}
    )
    script = (
        "grep -E ' /sys/fs/cgroup[ /]' /proc/self/mountinfo; echo; for d in /sys/fs/cgroup /sys/fs/cgroup/*; do "
        "mkdir $d/new && echo MADE $d; echo 0 > $d/cgroup.procs && echo WROTE $d; done 2>/dev/null; true"
    )
    mounts, attempts = box.sh(script).split("\n\n") if "\n\n" in box.sh(script) else (box.sh(script), "")
    assert mounts
    assert all("ro" in line.split()[5].split(",") for line in mounts.splitlines()), mounts
    assert attempts == ""
