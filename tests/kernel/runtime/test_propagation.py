"""``rootfsPropagation``: what a container hears of the host's mounts, and the host of the container's.

All in a mount namespace of the test's own, whose mounts are shared, as systemd has them: what would leak to the host
shows there.
"""

from __future__ import annotations

import os
import subprocess
import time

import pytest


@pytest.fixture
def host(box):
    """Has everything run in a namespace of shared mounts, with ``volume`` among them; runs commands there."""
    (box.directory / "volume").mkdir()
    (box.directory / "volume/late").mkdir()
    ready = box.directory / "ready"
    script = (
        f"mount --make-rprivate / && mount -t tmpfs volume {box.directory}/volume && mount --make-rshared / && "
        f"mkdir {box.directory}/volume/late && touch {ready} && exec sleep 120"
    )
    holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", script])
    deadline = time.monotonic() + 10
    while not ready.exists():
        assert holder.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    box.wrapper = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]

    def run(*words):
        return subprocess.run([*box.wrapper, *words], capture_output=True, text=True, check=True).stdout

    yield run
    box.call("delete", "--force", box.id)
    holder.kill()
    holder.wait()
    box.wrapper = []


def peers(box):
    """The optional fields (shared:N, master:N, unbindable) of each mount in the running container."""
    found = {}
    with open(f"/proc/{box.pid()}/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            fields = line.split()
            found[fields[4]] = {field.partition(":")[0] for field in fields[6 : fields.index("-")]}
    return found


ROOT = {
    "": set(),
    "private": set(),
    "rprivate": set(),
    "slave": {"master"},
    "rslave": {"master"},
    "shared": {"shared"},
    "rshared": {"shared"},
    "unbindable": {"unbindable"},
    "runbindable": {"unbindable"},
}


@pytest.mark.parametrize("word", ROOT)
def test_of_the_root(box, host, word):
    box.linux["rootfsPropagation"] = word
    before = host("cat", "/proc/self/mountinfo").splitlines()
    box.start()
    assert peers(box)["/"] == ROOT[word]
    # Those of others on the machine may have gone: with its directory a mount goes everywhere.
    seen = set(host("cat", "/proc/self/mountinfo").splitlines()).difference(before)
    assert seen == set(), "the container's mounts are seen on the host"


@pytest.mark.parametrize(
    ("word", "option", "hears"),
    [
        ("", "rslave", True),
        ("", "rprivate", False),
        ("slave", "bind", True),
        ("private", "rslave", False),
        ("shared", "rshared", True),
    ],
)
def test_what_is_mounted_on_the_host_later(box, host, word, option, hears):
    box.linux["rootfsPropagation"] = word
    box.bind(box.directory / "volume", "/volume", option)
    box.start()
    host("mount", "-t", "tmpfs", "late", f"{box.directory}/volume/late")
    assert ("/volume/late" in peers(box)) is hears


@pytest.mark.parametrize(("word", "told"), [("shared", True), ("slave", False), ("", False)])
def test_what_the_container_mounts_in_a_shared_volume(box, host, word, told):
    """Only where the root is shared does the host hear of it, as the caller of a CSI driver wants it."""
    box.linux["rootfsPropagation"] = word
    for names in box.spec["process"]["capabilities"].values():
        names.append("CAP_SYS_ADMIN")
    box.bind(box.directory / "volume", "/volume", "rshared")
    box.start("mount -t tmpfs inner /volume/late && exec sleep 60")
    deadline = time.monotonic() + 5
    while "/volume/late" not in peers(box) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "/volume/late" in peers(box)
    assert (f"{box.directory}/volume/late" in host("cat", "/proc/self/mountinfo")) is told


def test_a_mount_point_as_the_root(box, host):
    """As an overlay is: it leaves its peer group before it is bound, or the host would see it twice."""
    host("mount", "--bind", str(box.rootfs), str(box.rootfs))
    box.linux["rootfsPropagation"] = "shared"
    before = host("cat", "/proc/self/mountinfo")
    box.start()
    assert peers(box)["/"] == {"shared"}
    assert host("cat", "/proc/self/mountinfo") == before
    assert os.path.isdir(box.rootfs)
