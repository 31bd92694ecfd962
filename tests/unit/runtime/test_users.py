"""Who a user is, by files that an image made."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.openat2 import Root
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.users import resolve_user

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
web:x:1000:1001:Web:/home/web:/bin/sh
1:x:0:0:named one:/:/bin/sh
broken:x:zero:0::/:/bin/sh
short:x:5
+:x:0:0::/:/bin/sh
"""
GROUP = "root:x:0:\nweb:x:1001:\nstaff:x:50:root,web\n7:x:0:\nbad:x:-1:web\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    root = Root(str(tmp_path))
    root.attach()
    yield root
    root.close()


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, [0, 50], "/root"),
        ("root", 0, 0, [0, 50], "/root"),
        ("web", 1000, 1001, [1001, 50], "/home/web"),
        ("1000", 1000, 1001, [1001, 50], "/home/web"),
        ("web:staff", 1000, 50, [50], "/home/web"),
        ("web:7", 1000, 7, [7], "/home/web"),
        ("1", 1, 0, [0], "/"),
        ("4294967294", 4294967294, 0, [0], "/"),
    ],
)
def test_users(root, text, uid, gid, groups, home):
    user = resolve_user(text, root)
    assert (user.uid, user.gid, user.groups, user.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    "text", ["nobody", "broken", "short", "-1", "1e3", "4294967295", "web:", "web:none", "٣", "0" * 11 + "4294967296"]
)
def test_what_cannot_be_meant(root, text):
    with pytest.raises(InvalidOption, match="user"):
        resolve_user(text, root)


def test_files_that_are_links_are_read_inside(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("/etc/passwd-inside")
    (tmp_path / "etc/passwd-inside").write_text("web:x:7:7::/w:/bin/sh\n")
    root = Root(str(tmp_path))
    root.attach()
    assert resolve_user("web", root).uid == 7
    root.close()
