# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another kernel would have is refused by name, also in check mode; a seccomp profile is known by its content."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.demands import (
    check_kernel,
    check_provisions,
    complete_container,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption, NotFound, Unsupported
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import (
    Container,
    Device,
    Namespaces,
    Security,
    Volume,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.resolve import refuse

IDS = ((0, 100000, 65536),)


def container(**fields):
    return Container("web", "site:1", **fields)


OWN_IDS = container(namespaces=Namespaces("auto", IDS, IDS))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/user").touch()
    return tmp_path


@pytest.mark.parametrize("release", ["5.18.0-1-amd64", "4.18.0-553.el8.x86_64", "unknown"])
def test_ids_of_its_own_need_a_kernel_that_has_them(root, release):
    with pytest.raises(Unsupported, match=r"container web: userns: auto needs Linux 5\.19 or newer") as caught:
        check_kernel(OWN_IDS, release, str(root))
    assert release in str(caught.value)
    check_kernel(container(), release, str(root))


def test_a_kernel_that_has_them_is_taken(root):
    for release in ("5.19.0", "6.1.0-18-amd64", "10.0"):
        check_kernel(OWN_IDS, release, str(root))
    (root / "proc/self/ns/user").unlink()
    with pytest.raises(Unsupported, match="no user namespaces"):
        check_kernel(OWN_IDS, "6.1.0", str(root))


def test_security_modules_must_be_on(root):
    profile, label = container(security=Security(apparmor="web")), container(security=Security(label=("type:web_t",)))
    with pytest.raises(Unsupported, match="security_opts: apparmor"):
        check_kernel(profile, "6.1.0", str(root))
    with pytest.raises(Unsupported, match="security_opts: label"):
        check_kernel(label, "6.1.0", str(root))
    for path, content in (("sys/module/apparmor/parameters/enabled", "Y\n"), ("sys/fs/selinux/enforce", "1")):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(content)
    check_kernel(profile, "6.1.0", str(root))
    check_kernel(label, "6.1.0", str(root))
    (root / "sys/module/apparmor/parameters/enabled").write_text("N\n")
    with pytest.raises(Unsupported, match="security_opts: apparmor"):
        check_kernel(profile, "6.1.0", str(root))


def test_what_turns_them_off_is_taken_anywhere(root):
    check_kernel(container(security=Security(apparmor="unconfined", label=("disable",))), "6.1.0", str(root))


def test_a_profile_is_known_by_its_content(tmp_path):
    path = tmp_path / "web.json"
    wanted = container(security=Security(seccomp=str(path)))
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    first = complete_container(wanted, None, refuse).security.seccomp_digest
    path.write_text('{"defaultAction": "SCMP_ACT_LOG"}')
    second = complete_container(wanted, None, refuse).security.seccomp_digest
    assert first.startswith("sha256:")
    assert second.startswith("sha256:")
    assert first != second


def test_a_profile_that_is_not_there_is_what_an_earlier_task_may_have_made(tmp_path):
    wanted = container(security=Security(seccomp=str(tmp_path / "none")))
    with pytest.raises(NotFound, match="seccomp profile"):
        complete_container(wanted, None, refuse)
    current = container(security=Security(seccomp_digest="sha256:aa"))
    told = []
    assert complete_container(wanted, current, told.append).security.seccomp_digest == "sha256:aa"
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "a profile in JSON"),
        ("[]", "an object with at least a defaultAction"),
        ('{"defaultAction": "SCMP_ACT_FLY"}', "one of SCMP_ACT"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": []}]}', "a list with at least one name"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}', "one of SECCOMP_FILTER_FLAG"),
    ],
)
def test_what_is_no_profile_is_refused_with_its_path(tmp_path, text, expected):
    path = tmp_path / "web.json"
    path.write_text(text)
    with pytest.raises(InvalidOption) as caught:
        complete_container(container(security=Security(seccomp=str(path))), None, refuse)
    assert caught.value.option.startswith("security_opts: seccomp")
    assert expected in caught.value.expected
    assert str(path) in str(caught.value)


WANTED = {
    "file or directory": lambda path: container(volumes=(Volume(path, "/x"),)),
    "device": lambda path: container(devices=(Device(path, "/dev/x"),)),
    "runtime": lambda path: container(runtime=path),
}


@pytest.mark.parametrize("kind", WANTED)
def test_what_this_host_lacks_is_told_of(tmp_path, kind):
    wanted = WANTED[kind](str(tmp_path / "none"))
    with pytest.raises(NotFound, match=rf"{kind} '/.*/none' is not on this host; container web asks for it in"):
        check_provisions(wanted, refuse)
    told = []
    check_provisions(wanted, told.append)
    assert [(error.kind, error.name) for error in told] == [(kind, str(tmp_path / "none"))]


def test_what_this_host_has_is_not(tmp_path):
    program = tmp_path / "runtime"
    program.touch(mode=0o755)
    check_provisions(
        container(
            volumes=(Volume(str(tmp_path), "/x"),), devices=(Device("/dev/null", "/dev/x"),), runtime=str(program)
        ),
        refuse,
    )


def test_all_is_told_of_at_once(tmp_path):
    told = []
    volumes, devices = (Volume("/none/a", "/a"), Volume("/none/b", "/b")), (Device("/none/c", "/c"),)
    check_provisions(container(volumes=volumes, devices=devices, runtime="none"), told.append)
    assert [error.name for error in told] == ["/none/a", "/none/b", "/none/c", "none"]


def test_what_is_no_device_is_refused_though_others_are_missing(tmp_path):
    wanted = container(devices=(Device("/none", "/dev/a"), Device("/etc/passwd", "/dev/b")))
    with pytest.raises(InvalidOption, match="devices: '/etc/passwd' is not valid; expected a device node"):
        check_provisions(wanted, lambda _error: None)


def test_a_profile_that_is_missing_is_told_of_once():
    check_provisions(container(security=Security(seccomp="/none")), refuse)


def test_what_is_no_program_is_no_runtime(tmp_path):
    (tmp_path / "file").touch(mode=0o644)
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(NotFound, match="install it, or leave runtime out"):
            check_provisions(container(runtime=str(path)), refuse)
