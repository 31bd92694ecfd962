from __future__ import annotations

import os

from ansible_collections.stowage.engine.plugins.module_utils._engine.network.names import hosts_file, write_in_place


def test_localhost_comes_first_then_entries_in_their_order_and_nothing_twice():
    text = hosts_file([("10.42.1.5", ["web", "www", "web"]), ("10.42.2.5", ["client"]), ("10.42.1.5", ["web", "db"])])
    assert text.splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.42.1.5\tweb www",
        "10.42.2.5\tclient",
        "10.42.1.5\tdb",
    ]


def test_the_file_keeps_its_inode_grows_shrinks_and_is_left_alone(tmp_path):
    path = tmp_path / "hosts"
    assert write_in_place(str(path), "one two three\n")
    inode = os.stat(path).st_ino
    assert write_in_place(str(path), "four\n")
    assert path.read_text() == "four\n"
    assert not write_in_place(str(path), "four\n")
    assert write_in_place(str(path), "a longer line\n")
    assert path.read_text() == "a longer line\n"
    assert os.stat(path).st_ino == inode
