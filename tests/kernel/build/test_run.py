# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RUN: what a step leaves, what it is isolated from, its networks, users and mounts."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    BuildFailed,
    EngineError,
    InvalidContainerfile,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.build import Secret
from tests.kernel.build.conftest import BASE, every_file

SECRET = "hunter2-and-more"


def test_a_step_leaves_what_it_changed_and_nothing_else(workshop):
    workshop.build(BASE + "RUN true\nRUN ls -a / /etc && touch /made\nCOPY busybox /etc/b\nRUN rm /made\n")
    history = [entry.get("empty_layer") for entry in workshop.document()["history"]]
    assert history == [None, None, True, None, None, None]
    assert [sorted(os.listdir(layer)) for layer in workshop.layers()[-3:]] == [["made"], ["etc"], ["made"]]
    assert set(workshop.tree()) == {"etc", "etc/b"}


def test_removed_files_and_replaced_directories(workshop):
    workshop.build(
        BASE + "RUN mkdir -p /d/sub /k && touch /d/a /d/sub/b /k/keep /k/go\n"
        "RUN rm -r /d /k/go && mkdir /d && mkdir /d/sub && touch /d/new\nRUN rmdir /d/sub && mv /k /moved\n"
    )
    names = {path for path in workshop.tree() if path.split("/")[0] in ("d", "k", "moved")}
    assert names == {"d", "d/new", "moved", "moved/keep"}


def test_steps_are_isolated_as_containers_are(workshop):
    workshop.build(
        BASE
        + "RUN cat /proc/self/status > /status; echo $$ > /pid; hostname > /name; ls /proc/kcore /sys/firmware | wc -c "
        "> /masked; (mount -t tmpfs none /mnt && echo mounted) > /mount 2>&1; cat /proc/self/cgroup > /cgroup; true\n"
    )
    status = dict(line.split(":\t", 1) for line in workshop.read("/status").splitlines() if ":\t" in line)
    assert status["CapEff"].strip() == "00000000a80425fb", "docker's default capabilities"
    assert status["Seccomp"].strip() == "2"
    assert workshop.read("/pid") == "1\n"
    assert workshop.read("/name") == "build\n"
    assert "mounted" not in workshop.read("/mount")


def test_networks(workshop):
    text = BASE + "RUN ls /sys/class/net > /host\nRUN --network=none ls /sys/class/net > /none\n"
    workshop.build(text)
    assert workshop.read("/none") == "lo\n"
    assert sorted(workshop.read("/host").split()) == sorted(os.listdir("/sys/class/net"))
    workshop.build(text, network="none")
    assert workshop.read("/host") == "lo\n"
    with pytest.raises(InvalidContainerfile, match=r"Containerfile:4: RUN: --network=host, but the build has"):
        workshop.build(BASE + "RUN --network=host true\n", network="none")


def test_names_of_hosts(workshop):
    text = BASE + "RUN cat /etc/hosts > /seen\n"
    workshop.build(text, extra_hosts=(("mirror", "192.0.2.1"),))
    lines = [line.split() for line in workshop.read("/seen").splitlines()]
    assert ["127.0.1.1", "build"] in lines
    assert ["192.0.2.1", "mirror"] in lines
    assert not workshop.has("/etc")


def test_insecure_steps_have_to_be_allowed(workshop):
    text = BASE + "RUN --security=insecure grep CapEff /proc/self/status > /caps\n"
    with pytest.raises(InvalidContainerfile, match="privileged: true"):
        workshop.build(text)
    workshop.build(text, privileged=True)
    assert "a80425fb" not in workshop.read("/caps")


def test_users_directories_and_environment(workshop):
    workshop.write("passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")
    workshop.write("group", "root:x:0:\napp:x:1001:\nmore:x:1002:app\n")
    workshop.build(
        BASE
        + "COPY passwd group /etc/\nARG given=default\nARG unset\nENV PATH=/bin X='a b'\nUSER app\nWORKDIR /srv/app\n"
        'RUN id > /tmp.txt || id > id; pwd > pwd; echo "$HOME $X $given-$unset" > env\nCOPY --chown=app:more passwd a\n'
        'COPY --chown=7 passwd b\nSHELL ["/bin/busybox", "ash", "-c"]\nRUN echo $0 > shell\nCMD a b\n',
        args=(("given", "value"),),
    )
    assert workshop.read("/srv/app/id").startswith("uid=1000(app) gid=1001(app) groups=1001(app),1002(more)")
    assert workshop.read("/srv/app/pwd") == "/srv/app\n"
    assert workshop.read("/srv/app/env") == "/home/app a b value-\n"
    assert workshop.read("/srv/app/shell") == "ash\n"
    assert workshop.config()["Cmd"] == ["/bin/busybox", "ash", "-c", "a b"]
    tree = workshop.tree()
    assert tree["srv/app"][1:3] == (1000, 1001)
    assert (tree["srv/app/a"][1:3], tree["srv/app/b"][1:3]) == ((1000, 1002), (7, 7))
    history = [entry["created_by"] for entry in workshop.document()["history"]]
    assert any(line.startswith("RUN |1 given=value /bin/sh -c id") for line in history)


def test_proxies_are_seen_and_forgotten(workshop):
    text = BASE + "RUN echo $http_proxy > /seen\n"
    first = workshop.build(text, args=(("http_proxy", "http://user:pass@proxy:1"),))
    assert workshop.read("/seen") == "http://user:pass@proxy:1\n"
    assert workshop.build(text, args=(("http_proxy", "other"),)) == first, "it is no part of the key"
    assert "proxy:1" not in json.dumps(workshop.document())


def test_heredocs(workshop):
    workshop.build(
        BASE + "ENV x=value\nRUN <<EOF\necho one > /1\necho $x >> /1\nEOF\nRUN cat <<'EOF' > /2\n$x\nEOF\n"
        'RUN <<EOF\n#!/bin/awk -f\nBEGIN { print "awk" > "/3" }\nEOF\n'
        'COPY <<a <<-"b" /d/\n$x "q" \\$x\na\n\t$x\nb\nCOPY --chmod=755 <<EOF /script\n#!/bin/sh\nEOF\n'
    )
    assert [workshop.read(path) for path in ("/1", "/2", "/3")] == ["one\nvalue\n", "$x\n", "awk\n"]
    assert (workshop.read("/d/a"), workshop.read("/d/b")) == ('value "q" $x\n', "$x\n")
    assert workshop.tree()["script"][0] == "0o100755"


def test_a_step_that_fails_says_what_it_said(workshop):
    with pytest.raises(
        BuildFailed, match=r"(?s)Containerfile:4: RUN /bin/sh -c echo out; echo err >&2; exit 3: .* status 3.*out\nerr"
    ):
        workshop.build(BASE + "RUN echo out; echo err >&2; exit 3\n")
    assert workshop.log[-2:] == ["out", "err"]
    with pytest.raises(EngineError, match="no-such-program"):
        workshop.build(BASE + 'RUN ["no-such-program"]\n')
    assert os.listdir(os.path.join(workshop.paths.build_cache, "work")) == []


def test_cache_mounts_outlive_builds_and_are_in_no_layer(workshop):
    step = "RUN --mount=type=cache,target=/cache,id=c,mode=0700,uid=5 echo {0} >> /cache/f && cp /cache/f /{0}\n"
    workshop.build(BASE + step.format("one"))
    workshop.build(BASE + step.format("two") + "RUN --mount=type=cache,target=/x,id=c,ro ! touch /x/g\n")
    assert workshop.read("/two") == "one\ntwo\n"
    assert not workshop.has("/cache")
    assert not workshop.has("/x")
    seeded = "RUN --mount=type=cache,target=/s,from=0,source=/bin ls /s | grep -c busybox > /seeded\n"
    workshop.build(BASE + "FROM 0\n".replace("FROM 0", BASE) + seeded)
    assert workshop.read("/seeded") == "1\n"


def test_bind_mounts(workshop):
    workshop.write("src/a", "a")
    workshop.write("src/secret", "no")
    workshop.write("src/deep/keep", "k")
    workshop.write("src/deep/secret", "no")
    workshop.write(".containerignore", "**/secret\n")
    text = (
        BASE.replace("scratch", "scratch AS tools") + "RUN mkdir /t && echo tool > /t/x\n" + BASE +
        "RUN --mount=target=/ctx find /ctx/src | sort > /seen && ! touch /ctx/new\n"
        "RUN --mount=type=bind,source=src,target=/w,rw echo z > /w/z && cat /w/z > /z\n"
        "RUN --mount=from=tools,source=/t,target=/tools cat /tools/x > /x\n"
        "RUN --mount=from=tools,source=/t/x,target=/one cat /one > /y\n"
    )  # fmt: skip
    workshop.build(text)
    assert workshop.read("/seen").split() == ["/ctx/src", "/ctx/src/a", "/ctx/src/deep", "/ctx/src/deep/keep"]
    assert [workshop.read(path) for path in ("/z", "/x", "/y")] == ["z\n", "tool\n", "tool\n"]
    assert not (workshop.context / "src/z").exists()
    assert not any(workshop.has(path) for path in ("/ctx", "/w", "/tools", "/one"))
    assert set(workshop.outcomes(text)) == {"cached"}
    workshop.write("src/secret", "other")
    assert set(workshop.outcomes(text)) == {"cached"}, "what is left out is no input"
    workshop.write("src/a", "other")
    assert workshop.outcomes(text)[-4:] == ["built"] * 4


def test_steps_that_make_the_same_layer_again(workshop):
    """overlayfs takes no directory twice."""
    workshop.write("a", "a")
    workshop.write("b", "b")
    again = "COPY a /x\nCOPY b /x\nCOPY a /x\nRUN true\nRUN true\nRUN cat /x > /y\n"
    workshop.build(
        BASE.replace("scratch", "scratch AS same")
        + again
        + BASE
        + "RUN --mount=from=same,target=/m cat /m/x /m/y > /z\n"
        "RUN --mount=from=same,target=/m,rw rm /m/x && ! cat /m/x\nCOPY --from=same /x /y /d/\n"
    )
    assert [workshop.read(path) for path in ("/z", "/d/x", "/d/y")] == ["aa", "a", "a"]
    workshop.build(BASE + again)
    layers = workshop.document()["rootfs"]["diff_ids"]
    assert len(set(layers)) < len(layers)
    assert [workshop.read(path) for path in ("/x", "/y")] == ["a", "a"]


def test_tmpfs_mounts(workshop):
    workshop.build(BASE + "RUN --mount=type=tmpfs,target=/t,size=1m grep ' /t ' /proc/mounts > /m && touch /t/x\n")
    assert "size=1024k" in workshop.read("/m")
    assert not workshop.has("/t")


def test_secrets_are_shown_to_the_step_and_nowhere_else(workshop):
    file = workshop.directory / "secret"
    file.write_text(SECRET)
    text = BASE + (
        "RUN --mount=type=secret,id=file wc -c < /run/secrets/file > /size && cat /run/secrets/file && stat -c %a "
        "/run/secrets/file > /mode\n"
        'RUN --mount=type=secret,id=env,env=TOKEN echo ${#TOKEN} > /length; echo "it is $TOKEN"; false $TOKEN || true\n'
        "RUN --mount=type=secret,id=file,target=/etc/token,mode=0444 --mount=type=secret,id=none "
        "cp /etc/token /dev/shm/\n"
    )
    secrets = (Secret("file", path=str(file)), Secret("env", value=SECRET.encode()))
    digest = workshop.build(text, secrets=secrets)
    assert (workshop.read("/size").strip(), workshop.read("/length").strip()) == (str(len(SECRET)), str(len(SECRET)))
    assert workshop.read("/mode") == "400\n"
    assert not workshop.has("/run")
    assert not workshop.has("/etc/token")
    assert "it is ********" in workshop.log
    assert SECRET not in "\n".join(workshop.log)
    assert SECRET not in repr(secrets)
    for root in (workshop.paths.root, workshop.paths.run_root):
        assert not [path for path in every_file(root) if path.is_file() and SECRET.encode() in path.read_bytes()]
    other = tuple(Secret(secret.id, value=b"another") for secret in secrets)
    assert workshop.forecast(text, secrets=other).digest == digest, "its value is no input"
    with pytest.raises(BuildFailed) as raised:
        workshop.build(BASE + "RUN --mount=type=secret,id=env,env=T echo $T; false\n", secrets=secrets)
    assert SECRET not in str(raised.value)
    with pytest.raises(InvalidContainerfile, match="'more' is required"):
        workshop.build(BASE + "RUN --mount=type=secret,id=more,required true\n", secrets=secrets)
