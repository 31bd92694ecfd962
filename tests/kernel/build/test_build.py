# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containerfiles that are really built: what the image has, what the cache does, what is refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import stat
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.building import build_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    BuildFailed,
    EngineError,
    InvalidContainerfile,
    InvalidOption,
    NotFound,
    Unsupported,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.cache import prune_build_cache
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.commit import commit_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import remove_image, sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.build import Secret
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import ImageConfig
from tests.kernel.build.conftest import BASE, NAME, run

SECRET = "hunter2-and-more"


def every_file(directory):
    return [Path(folder, name) for folder, _folders, names in os.walk(directory) for name in names]


# The cache ------------------------------------------------------------------------------------------------

TEN_STEPS = BASE + "RUN echo 1 > /1\nRUN echo 2 > /2\nENV a=b\nWORKDIR /srv\nCOPY f* .\nRUN cat f1 > f4\nCMD [\"sh\"]\n"


def listing(directory):
    return {path: os.lstat(path)[1:7] + os.lstat(path)[8:] for path in [directory, *every_file(directory)]}


def test_what_is_unchanged_is_not_built_again(workshop):
    for number in (1, 2):
        workshop.write(f"f{number}", "x")
    assert workshop.forecast(TEN_STEPS).digest == ""
    digest = workshop.build(TEN_STEPS)
    before = listing(workshop.paths.root)
    forecast = workshop.forecast(TEN_STEPS)
    assert forecast.digest == digest
    assert [step.outcome for step in forecast.steps if step.outcome != "configured"] == ["cached"] * 7
    assert listing(workshop.paths.root) == before, "a forecast wrote something"
    assert workshop.build(TEN_STEPS) == digest
    assert not any("sh" == line for line in workshop.log)


def test_what_changed_is_built_again_and_what_does_not_depend_on_it_is_not(workshop):
    text = BASE + "RUN echo 1\nCOPY a /a\nRUN cat /a > /b\nRUN echo 2 > /c\n"
    workshop.write("a", "one")
    first = workshop.build(text)
    assert workshop.outcomes(text) == ["cached"] * 6
    workshop.write("a", "two")
    assert workshop.outcomes(text) == ["cached"] * 3 + ["built"] * 3
    assert workshop.build(text) != first
    assert workshop.read("/b") == "two"
    workshop.write("a", "one")
    assert workshop.forecast(text).digest == first
    # The mode of a file is content, its time is not.
    os.utime(workshop.context / "a", (1, 1))
    assert workshop.forecast(text).digest == first
    (workshop.context / "a").chmod(0o755)
    assert workshop.outcomes(text) == ["cached"] * 3 + ["built"] * 3


def test_a_file_whose_time_was_set_back_is_read_again(workshop):
    text = BASE + "COPY a /a\n"
    file = workshop.write("a", "one")
    os.utime(file, ns=(10**18, 10**18))
    time.sleep(0.2)  # so that its digest may be remembered
    workshop.build(text)
    assert workshop.build(text)
    file.write_text("two")
    os.utime(file, ns=(10**18, 10**18))
    workshop.build(text)
    assert workshop.read("/a") == "two"


def test_a_step_with_the_same_outcome_leaves_the_next_as_they_are(workshop):
    text = BASE + "COPY . /src\nRUN cp /src/a /a\nFROM scratch\nCOPY --from=0 /a /a\nCOPY busybox /b\n"
    workshop.write("a", "one")
    workshop.write("note", "one")
    digest = workshop.build(text)
    workshop.write("note", "two")
    assert workshop.forecast(text).digest == ""
    assert workshop.build(text) == digest, "the last stage has the same files"


def test_check_mode_knows_the_digest_where_no_step_has_to_run(workshop):
    workshop.build(BASE)
    workshop.write("a/b", "x")
    text = BASE + "COPY a /a\nLABEL x=y\nWORKDIR /new/dir\nCOPY --chmod=600 a/b c\n"
    forecast = workshop.forecast(text)
    assert forecast.digest == workshop.build(text)
    assert [step.outcome for step in forecast.steps] == [
        *("configured", "cached", "cached", "built", "configured", "built", "built"),
    ]


def test_without_a_cache_everything_is_done_again(workshop):
    text = BASE + "RUN cat /proc/sys/kernel/random/uuid > /id\n"
    first = workshop.build(text)
    assert workshop.build(text) == first
    assert workshop.build(text, cache=False) != first


def test_a_linked_copy_does_not_depend_on_what_is_below(workshop):
    workshop.write("a", "x")
    step = "COPY --link --chown=3:4 a /d/\n"
    workshop.build(BASE + "RUN mkdir -m 700 /d && touch /d/b\n" + step)
    assert workshop.tree()["d"] == ("0o40755", 3, 4, "")
    assert workshop.has("/d/b")
    assert workshop.outcomes("FROM scratch\n" + step) == ["cached"]


def test_two_hosts_come_to_the_same_digest(workshop, another_workshop):
    text = BASE + (
        "RUN mkdir -p /d/e && echo x > /d/e/f && ln -s f /d/e/l && ln /d/e/f /d/e/h && chown 5:6 /d && rm /bin/zcat\n"
        "COPY --chown=1:2 tree /tree\nRUN mv /tree /moved && echo $SOURCE_DATE_EPOCH > /epoch\n"
    )
    digests = []
    for place in (workshop, another_workshop):
        for name in ("b", "a") if place is workshop else ("a", "b"):
            place.write(f"tree/{name}", name)
        digests.append(place.build(text, epoch=1_700_000_000))
        time.sleep(1.1)  # another second, in which times would be others
    assert digests[0] == digests[1]
    assert workshop.blobs() == another_workshop.blobs()
    assert workshop.document()["created"] == "2023-11-14T22:13:20Z"
    made = [path for layer in workshop.layers() for path in every_file(layer) if not path.is_char_device()]
    latest = max(os.lstat(path).st_mtime for path in made)
    assert latest == 1_700_000_000
    assert workshop.read("/epoch") == "1700000000\n"


def test_layers_of_the_cache_stay_until_it_is_pruned(workshop):
    text = BASE + "FROM scratch\nCOPY --from=0 /bin/busybox /b\n"
    digest = workshop.build(text)
    remove_image(workshop.paths, NAME)
    assert workshop.forecast(text).digest == digest
    assert len(os.listdir(workshop.paths.layers)) == 3
    assert prune_build_cache(workshop.paths, older_than=3600) == []
    assert len([name for name in prune_build_cache(workshop.paths) if name.startswith("steps/")]) == 3
    sweep(workshop.paths)
    assert os.listdir(workshop.paths.layers) == []
    assert workshop.build(text) == digest


# Steps that run ------------------------------------------------------------------------------------------


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
        BASE + "RUN cat /proc/self/status > /status; echo $$ > /pid; hostname > /name; ls /proc/kcore /sys/firmware | wc -c "
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
        BASE + "COPY passwd group /etc/\nARG given=default\nARG unset\nENV PATH=/bin X='a b'\nUSER app\nWORKDIR /srv/app\n"
        "RUN id > /tmp.txt || id > id; pwd > pwd; echo \"$HOME $X $given-$unset\" > env\nCOPY --chown=app:more passwd a\n"
        "COPY --chown=7 passwd b\nSHELL [\"/bin/busybox\", \"ash\", \"-c\"]\nRUN echo $0 > shell\nCMD a b\n",
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
        "RUN <<EOF\n#!/bin/awk -f\nBEGIN { print \"awk\" > \"/3\" }\nEOF\n"
        "COPY <<a <<-\"b\" /d/\n$x \"q\" \\$x\na\n\t$x\nb\nCOPY --chmod=755 <<EOF /script\n#!/bin/sh\nEOF\n"
    )
    assert [workshop.read(path) for path in ("/1", "/2", "/3")] == ["one\nvalue\n", "$x\n", "awk\n"]
    assert (workshop.read("/d/a"), workshop.read("/d/b")) == ('value "q" $x\n', "$x\n")
    assert workshop.tree()["script"][0] == "0o100755"


def test_a_step_that_fails_says_what_it_said(workshop):
    with pytest.raises(BuildFailed, match=r"(?s)Containerfile:4: RUN /bin/sh -c echo out; echo err >&2; exit 3: .* status 3.*out\nerr"):
        workshop.build(BASE + "RUN echo out; echo err >&2; exit 3\n")
    assert workshop.log[-2:] == ["out", "err"]
    with pytest.raises(EngineError, match="no-such-program"):
        workshop.build(BASE + 'RUN ["no-such-program"]\n')
    assert os.listdir(os.path.join(workshop.paths.build_cache, "work")) == []


# Mounts ------------------------------------------------------------------------------------------------


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
        "RUN --mount=type=secret,id=env,env=TOKEN echo ${#TOKEN} > /length; echo \"it is $TOKEN\"; false $TOKEN || true\n"
        "RUN --mount=type=secret,id=file,target=/etc/token,mode=0444 --mount=type=secret,id=none cp /etc/token /dev/shm/\n"
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


# ADD ----------------------------------------------------------------------------------------------------


def archive_of(compression, **files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.mode, info.mtime = len(content), 5, 0o640, 1_000_000_000
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def test_archives_are_unpacked(workshop):
    for compression in ("", "gz", "bz2", "xz"):
        workshop.write(f"a.{compression}", archive_of(compression, **{f"in/{compression}x": "content"}))
    workshop.write("plain", "no archive")
    text = BASE + "ADD a. a.gz plain /d/\nADD a.bz2 a.xz /e\nADD --chown=8:9 --unpack=false a.gz /f/\nCOPY a.gz /g\n"
    with pytest.raises(InvalidContainerfile, match="has to end with a slash"):
        workshop.build(text)
    text = text.replace("/e\n", "/e/\n")
    workshop.build(text, epoch=1_100_000_000)
    tree = workshop.tree()
    assert {path for path in tree if path[0] in "defg"} == {
        *("d", "d/in", "d/in/x", "d/in/gzx", "d/plain", "e", "e/in", "e/in/bz2x", "e/in/xzx", "f", "f/a.gz", "g"),
    }
    assert tree["d/in/x"] == ("0o100640", 5, 0, b"content")
    assert tree["f/a.gz"][1:3] == (8, 9)
    layer = next(layer for layer in workshop.layers() if (layer / "d/in/x").exists())
    assert (layer / "d/in/x").stat().st_mtime == 1_000_000_000
    assert (layer / "d/plain").stat().st_mtime == 1_100_000_000
    assert set(workshop.outcomes(text, epoch=1_100_000_000)) == {"cached"}


class Served(BaseHTTPRequestHandler):
    content = b"from afar"
    sent = 0

    def do_GET(self):
        tag = f'"{hash(self.content)}"'
        if self.path == "/none":
            self.send_error(404)
            return
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.end_headers()
            return
        type(self).sent += 1
        self.send_response(200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_words):
        pass


@pytest.fixture
def server():
    served = type("Once", (Served,), {"sent": 0})
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield served, f"http://user:pass@127.0.0.1:{running.server_port}".replace("user:pass@", "")
        finally:
            running.shutdown()
            thread.join()


def test_files_from_addresses(workshop, server):
    served, address = server
    text = BASE + f"ADD {address}/dir/file?x=1 /d/\nADD {address}/other /e\n"
    assert workshop.forecast(text).digest == ""
    digest = workshop.build(text)
    assert workshop.tree()["d/file"] == ("0o100600", 0, 0, b"from afar")
    assert served.sent == 2
    assert workshop.forecast(text).digest == digest
    assert served.sent == 2, "what has not changed is not sent again"
    served.content = b"another"
    assert workshop.outcomes(text)[-2:] == ["built"] * 2
    workshop.build(text)
    assert workshop.read("/e") == "another"
    sum_of = "sha256:" + "0" * 64
    with pytest.raises(EngineError, match="content has digest"):
        workshop.build(BASE + f"ADD --checksum={sum_of} {address}/a /a\n")
    with pytest.raises(InvalidContainerfile, match="Containerfile:4: ADD: .*404"):
        workshop.build(BASE + f"ADD {address}/none /a\n")


# Stages -------------------------------------------------------------------------------------------------


def test_stages_that_nothing_needs_are_not_built(workshop):
    text = BASE.replace("scratch", "scratch AS one") + "FROM one AS never\nRUN false\nFROM one AS two\nRUN echo 2 > /2\n"
    workshop.build(text)
    assert workshop.has("/2")
    workshop.build(text, target="one")
    assert not workshop.has("/2")
    with pytest.raises(BuildFailed):
        workshop.build(text, target="never")
    with pytest.raises(InvalidOption, match="one, never, two"):
        workshop.build(text, target="three")


def test_arguments_in_front_of_the_first_stage(workshop):
    text = "ARG BASE=scratch\nARG V=1\n" + BASE.replace("scratch", "$BASE") + (
        "ARG V\nARG W=${V:-x}2\nARG TARGETARCH\nRUN echo $V $W $TARGETARCH-$TARGETOS > /args\n"
    )
    workshop.build(text, args=(("V", "7"), ("misspelt", "x")))
    assert workshop.read("/args") == "7 72 amd64-\n"
    assert workshop.forecast(text, args=(("misspelt", "x"),)).warnings == (
        "args: no ARG declares misspelt, so it has no effect",
    )


def test_triggers_of_a_base(workshop):
    workshop.write("a", "x")
    base = BASE + "ONBUILD COPY a /triggered\nONBUILD RUN cat /triggered > /ran\n"
    workshop.build(base, name="docker.io/library/base:1")
    assert len(workshop.document("base:1")["config"]["OnBuild"]) == 2
    workshop.build("FROM base:1\nRUN cat /ran > /after\n")
    assert workshop.read("/after") == "x"
    assert "OnBuild" not in workshop.config()
    workshop.build(base + "FROM 0\n".replace("FROM 0", "FROM base:1"))
    assert workshop.has("/ran")


def test_images_as_origins(workshop):
    workshop.build(BASE + "RUN echo x > /x && chown 3:4 /x", name="docker.io/library/base:1")
    workshop.build("FROM scratch\nCOPY --from=base:1 /x /bin/busybox /y/\n")
    assert workshop.tree()["y/x"] == ("0o100644", 3, 4, b"x\n")
    with pytest.raises(EngineError, match="registry"):
        workshop.build("FROM localhost:1/no/such:1\n")
    assert workshop.forecast("FROM localhost:1/no/such:1\n").pulls == ("localhost:1/no/such:1",)


# What is refused ------------------------------------------------------------------------------------------

REFUSED = {
    "COPY ../x /x": "Containerfile:4: COPY: the path '../x' leaves the context",
    "COPY a/../../x /x": "Containerfile:4: COPY: the path 'a/../../x' leaves the context",
    "COPY none /x": "Containerfile:4: COPY: 'none' is not in the context",
    "COPY no* /x": "Containerfile:4: COPY: nothing in the context matches no*",
    "COPY out /x": "Containerfile:4: COPY: 'out' is not in the context",
    "COPY ignored /x": "Containerfile:4: COPY: 'ignored' is left out of the context by its ignore file",
    "COPY a a /x": "Containerfile:4: COPY: with more than one source",
    "COPY --chown=nobody a /x": "Containerfile:4: COPY: --chown=nobody: no user 'nobody'",
    "COPY --chmod=9 a /x": "Containerfile:4: COPY: --chmod=9: it is neither octal",
    "COPY --from=later a /x": "Containerfile:4: COPY: 'a' is not in the context",
    "COPY --from=3 a /x": "Containerfile:4: COPY: there is no stage 3",
    "COPY a /bin/busybox/x": "Containerfile:4: COPY: 'bin/busybox/x' cannot be written",
    "COPY dir /bin/busybox": "Containerfile:4: COPY: a directory is copied to '/bin/busybox', which is a file",
    "ADD https://github.com/a/b.git /x": "Containerfile:4: ADD: https://github.com/a/b.git: git repositories",
    'ENV a="${b:?it is needed}"': "Containerfile:4: ENV: b: it is needed",
    "EXPOSE x": "Containerfile:4: EXPOSE: 'x' is no port",
    "STOPSIGNAL !": "Containerfile:4: STOPSIGNAL: '!' is no signal",
    "WORKDIR $none": "Containerfile:4: WORKDIR: ",
    "WORKDIR /bin/busybox/x": "Containerfile:4: WORKDIR: '/bin/busybox/x' cannot be",
    "RUN --mount=source=../x,target=/x true": "Containerfile:4: RUN: --mount: the source '../x' leaves the context",
    "RUN --mount=source=none,target=/x true": "Containerfile:4: RUN: --mount: the source 'none' is not in the context",
    "RUN --mount=type=tmpfs,target=/x,size=x true": "Containerfile:4: RUN: --mount: size is 'x'",
    "RUN --mount=type=tmpfs,target=/ true": "Containerfile:4: RUN: --mount: the target cannot be the root",
}


@pytest.mark.parametrize("step", REFUSED)
def test_what_cannot_be_is_told_with_file_and_line(workshop, step):
    workshop.build(BASE)
    blobs = workshop.blobs()
    for name in ("a", "dir/b", "ignored"):
        workshop.write(name)
    os.symlink("/etc/passwd", workshop.context / "out")
    workshop.write(".dockerignore", "ignored\n")
    expected = REFUSED[step].replace("'a' is not in the context", "the stage later does not come before this one") if (
        "later" in step
    ) else REFUSED[step]
    with pytest.raises(InvalidContainerfile) as raised:
        workshop.build(BASE + step + "\nFROM scratch AS later\nFROM 0\n".replace("\nFROM 0", ""), target="0")
    assert str(raised.value).startswith(f"{workshop.context}/{expected}")
    assert workshop.blobs() == blobs


def test_other_refusals(workshop):
    with pytest.raises(Unsupported, match="this host is linux/"):
        workshop.build("FROM --platform=linux/s390x scratch\nCOPY busybox /b\n")
    with pytest.raises(NotFound, match="Containerfile"):
        build_image(workshop.paths, workshop.wanted(BASE, file=str(workshop.context / "no/Containerfile")))
    with pytest.raises(NotFound, match="context of the build"):
        workshop.build(BASE, context="/no/such/directory")


# Killed ---------------------------------------------------------------------------------------------------


def test_a_build_that_is_killed_leaves_nothing_that_stands_in_the_way(workshop, another_workshop):
    text = BASE + "".join(f"RUN echo {number} > /{number} && sleep 0.02\n" for number in range(6)) + "COPY . /all\n"
    expected = another_workshop.build(text)
    wanted = workshop.wanted(text)
    for attempt in range(12):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                build_image(workshop.paths, wanted)
            os._exit(0)
        time.sleep(0.03 + 0.05 * attempt)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert build_image(workshop.paths, wanted) == expected
    assert os.listdir(os.path.join(workshop.paths.build_cache, "work")) == []
    left = [path for path in Path("/sys/fs/cgroup").glob(f"*/{workshop.paths.instance}/*") if stat.S_ISDIR(path.stat().st_mode)]
    assert left == []
    mounts = Path("/proc/self/mounts").read_text()
    assert str(workshop.directory) not in mounts
    assert workshop.blobs() == another_workshop.blobs()


# Others read it -----------------------------------------------------------------------------------------


def test_skopeo_and_umoci_read_what_is_built(workshop):
    workshop.build(BASE + "RUN rm /bin/zcat && mkdir /d && chown 5 /d\nCMD [\"sh\"]\nEXPOSE 80\n")
    layout = f"oci:{workshop.paths.images}:{NAME}"
    assert json.loads(run("skopeo", "inspect", "--config", layout))["config"]["Cmd"] == ["sh"]
    run("skopeo", "copy", layout, f"oci:{workshop.directory}/copy:x")
    run("umoci", "unpack", "--image", f"{workshop.directory}/copy:x", f"{workshop.directory}/bundle")
    root = workshop.directory / "bundle/rootfs"
    assert not (root / "bin/zcat").exists()
    assert (root / "d").stat().st_uid == 5
    assert (root / "bin/busybox").stat().st_size > 0


def test_what_is_missing_is_told_before_a_step_runs(workshop):
    with pytest.raises(InvalidContainerfile, match="Containerfile:5: COPY: 'none' is not in the context"):
        workshop.forecast(BASE + "RUN touch /x\nCOPY none /x\n")
    text = BASE.replace("scratch", "scratch AS tools") + BASE + "RUN touch /x\nCOPY --from=tools /bin /tools\n"
    assert [step.stage for step in workshop.forecast(text).steps] == ["tools"] * 3 + ["stage 1"] * 5


def test_a_full_disk_stores_nothing_half(workshop):
    text = BASE + "RUN dd if=/dev/urandom of=/big bs=1M count=3\nRUN rm /big\n"
    run("mount", "-t", "tmpfs", "-o", "size=9m", "stowage-test", str(make(workshop.paths.root)))
    try:
        with pytest.raises(EngineError, match="No space left on device"):
            workshop.build(text)
        for digest in workshop.blobs():
            assert run("sha256sum", os.path.join(workshop.paths.images, "blobs", *digest.split(":"))).startswith(
                digest.partition(":")[2]
            )
        run("mount", "-o", "remount,size=60m", workshop.paths.root)
        digest = workshop.build(text)
        assert workshop.forecast(text).digest == digest
    finally:
        run("umount", workshop.paths.root)


def make(directory):
    os.makedirs(directory)
    return directory


def test_a_directory_of_changes_becomes_an_image(workshop):
    """What a playbook has changed in a container's root is committed so."""
    workshop.build(BASE + "RUN mkdir /d && touch /d/a /d/b\n", name="docker.io/library/base:1")
    upper = workshop.directory / "upper"
    (upper / "d").mkdir(parents=True)
    (upper / "d/new").write_text("new")
    os.mknod(upper / "d/a", stat.S_IFCHR, os.makedev(0, 0))
    (upper / "bin").mkdir()
    options = {"base": "base:1", "name": "built:1", "told": "a playbook", "epoch": 5}
    digest = commit_image(workshop.paths, str(upper), config=ImageConfig(command=("sh",)), **options)
    assert set(workshop.tree()) == {"d", "d/b", "d/new"}
    assert workshop.config()["Cmd"] == ["sh"]
    assert workshop.document()["history"][-1] == {"created": "1970-01-01T00:00:05Z", "created_by": "a playbook"}
    assert commit_image(workshop.paths, str(upper), config=ImageConfig(command=("sh",)), **options) == digest
    (workshop.directory / "empty").mkdir()
    commit_image(workshop.paths, str(workshop.directory / "empty"), **options)
    assert workshop.document()["history"][-1]["empty_layer"]
    with pytest.raises(NotFound, match="none:1"):
        commit_image(workshop.paths, str(upper), **{**options, "base": "none:1"})
