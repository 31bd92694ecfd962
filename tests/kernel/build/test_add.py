# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ADD: archives, files from servers, and those that break off, lie, drip or speak no HTTP; its checksums."""

from __future__ import annotations

import hashlib
import io
import shutil
import ssl
import tarfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidContainerfile
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from tests.kernel.build.conftest import BASE, run
from tests.kernel.image.authority import Authority

CONTENT = b"from afar" * 1000
SUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


def whole(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT)


def unchanging(handler):
    """Says that nothing has changed where it is asked so."""
    handler.send_response(304 if "If-None-Match" in handler.headers else 200)
    handler.send_header("ETag", '"same"')
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    if "If-None-Match" not in handler.headers:
        handler.wfile.write(CONTENT)


def half(handler):
    """Breaks off long before its end."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.send_header("ETag", '"same"')
    handler.end_headers()
    handler.wfile.write(CONTENT[:4000])
    handler.close_connection = True


def half_in_chunks(handler):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"5\r\nhello\r\n")
    handler.close_connection = True


def no_http(handler):
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True


def busy(handler):
    handler.send_error(503)


def dripping(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    for byte in range(100):
        handler.wfile.write(CONTENT[byte : byte + 1])
        time.sleep(0.2)


@contextmanager
def served(*acts, tls=None):
    """The address of a server that answers its requests by ``acts``, one after the other, and the last for ever.

    ``tls`` are files with its certificate and key.
    """
    left, asked = list(acts), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            try:
                (left.pop(0) if len(left) > 1 else left[0])(self)
            except OSError:
                self.close_connection = True  # whoever asked has hung up

        def log_message(self, *_words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("act", [half, half_in_chunks, no_http, busy])
def test_what_breaks_off_is_no_file(workshop, act):
    with served(act) as (address, asked), pytest.raises(InvalidContainerfile) as raised:
        workshop.build(BASE + f"ADD {address}/f /f\n")
    assert f"Containerfile:4: ADD: {address}/f" in str(raised.value)
    assert len(asked) > 1, "it is tried again"
    with served(whole) as (address, _asked):
        workshop.build(BASE + f"ADD {address}/f /f\n")
    assert workshop.read("/f").encode() == CONTENT


@pytest.mark.parametrize("act", [half, half_in_chunks, no_http, busy])
def test_what_breaks_off_once_is_fetched_again(workshop, act):
    with served(act, whole) as (address, _asked):
        workshop.build(BASE + f"ADD --checksum={SUM} {address}/f /f\n")
    assert workshop.read("/f").encode() == CONTENT


def test_a_server_that_drips_does_not_hold_a_build_up(workshop):
    started = time.monotonic()
    with served(dripping) as (address, _asked), pytest.raises(InvalidContainerfile, match=r"only .* bytes came"):
        workshop.build(BASE + f"ADD {address}/f /f\n", access=Access(timeout=1))
    assert time.monotonic() - started < 15


def test_the_tasks_proxy_is_used(workshop):
    with served(whole) as (address, asked):
        workshop.build(BASE + "ADD http://files.test/f /f\n", access=Access(proxy=address))
    assert [path for path, _headers in asked] == ["http://files.test/f"]


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def test_the_tasks_authority_is_trusted(workshop, authority):
    other = Authority(authority.directory, "other")
    with served(whole, tls=authority.issue("server")) as (address, asked):
        for access, advice in ((Access(), "give its authority as ca_cert"), (Access(ca_cert=str(other.file)), "")):
            with pytest.raises(
                InvalidContainerfile, match=f"/f cannot be had: its certificate is not trusted.*{advice}"
            ):
                workshop.build(BASE + f"ADD {address}/f /f\n", access=access)
        assert asked == []
        access = Access(ca_cert=str(authority.file))
        assert workshop.outcomes(BASE + f"ADD {address}/f /f\n", access=access)[-1] == "built"
        workshop.build(BASE + f"ADD {address}/f /f\n", access=access)
        assert workshop.read("/f").encode() == CONTENT
        assert workshop.outcomes(BASE + f"ADD {address}/f /f\n", access=access)[-1] == "cached"


def test_an_authority_of_the_host_is_trusted_beside_the_tasks(workshop, authority, monkeypatch):
    """That of a directory of podman's, for where the file is; the task's is the registry's."""
    monkeypatch.setenv("HOME", str(authority.directory))
    registrys = Authority(authority.directory, "registrys")
    with served(whole, tls=authority.issue("server")) as (address, _asked):
        directory = authority.directory / ".config/containers/certs.d" / address.partition("//")[2]
        directory.mkdir(parents=True)
        shutil.copy(authority.file, directory)
        workshop.build(BASE + f"ADD {address}/f /f\n", access=Access(ca_cert=str(registrys.file)))
    assert workshop.read("/f").encode() == CONTENT


def test_insecure_and_keys_are_for_registries(workshop, authority):
    certificate, key = map(str, authority.issue("client"))
    access = Access(insecure=True, username="user", password="s3cret", client_cert=certificate, client_key=key)
    with served(whole, tls=authority.issue("server")) as (address, _asked):
        with pytest.raises(InvalidContainerfile, match="its certificate is not trusted") as raised:
            workshop.build(BASE + f"ADD {address}/f /f\n", access=access)
        assert "insecure" not in str(raised.value)
    with served(whole) as (address, asked):
        workshop.build(BASE + f"ADD {address}/f /f\n", access=access)
        assert "Authorization" not in asked[0][1]
        with pytest.raises(
            InvalidContainerfile, match=r"it does not speak TLS .*; where it is to be plain HTTP, say http"
        ):
            workshop.build(BASE + f"ADD {address.replace('http', 'https')}/f /f\n", access=access)


CHECKSUMS = {
    f"ADD --checksum=sha256:{'0' * 64} a /x": "--checksum is for a source that is an address; a is none",
    "ADD --checksum=nonsense a /x": "--checksum is for a source that is an address; a is none",
    f"ADD --checksum={SUM} ADDRESS/a ADDRESS/b /x/": "--checksum is for one source alone",
    f"ADD --checksum={SUM} ADDRESS/a a /x/": "--checksum is for one source alone",
    f"ADD --checksum={SUM} <<EOF /x\nEOF": "--checksum is for a source that is an address; EOF is none",
    "ARG S=nonsense\nADD --checksum=$S ADDRESS/a /x": "--checksum=nonsense: it is no sha256",
    "ADD --checksum=sha256:0 ADDRESS/a /x": "--checksum=sha256:0: it is no sha256",
}


@pytest.mark.parametrize("step", CHECKSUMS)
@pytest.mark.parametrize("above", ["", "RUN true\n"])
def test_a_checksum_that_holds_nothing_is_refused(workshop, step, above):
    workshop.write("a")
    with served(whole) as (address, asked), pytest.raises(InvalidContainerfile) as raised:
        workshop.forecast(BASE + above + step.replace("ADDRESS", address) + "\n")
    assert CHECKSUMS[step] in str(raised.value)
    assert not asked


def test_a_checksum_may_be_a_variable(workshop):
    with served(whole) as (address, _asked):
        workshop.build(BASE + f"ARG SUM={SUM}\nADD --checksum=$SUM {address}/f /f\n")
        with pytest.raises(EngineError, match="content has digest"):
            workshop.build(BASE + f"ARG SUM=sha256:{'0' * 64}\nADD --checksum=$SUM {address}/f /f\n")


def test_a_checksum_is_held_against_what_is_there_already_too(workshop):
    with served(unchanging) as (address, _asked):
        workshop.build(BASE + f"ADD {address}/f /f\n")
        workshop.build(BASE + f"ADD {address}/f /f\n")
        for act in (workshop.forecast, workshop.build):
            with pytest.raises(EngineError, match="content has digest"):
                act(BASE + f"ADD --checksum=sha256:{'0' * 64} {address}/f /f\n")


@pytest.mark.parametrize("line", ["ADD {} /f", "ARG LOGIN=user:hunter2\nADD http://$LOGIN@127.0.0.1:{}/f /f"])
@pytest.mark.parametrize("above", ["", "RUN true\n"])
def test_addresses_with_a_password_are_refused_without_it(workshop, line, above):
    with served(whole) as (address, asked):
        with_login = address.replace("//", "//user:hunter2@") + "/f"
        text = line.format(address.rpartition(":")[2] if "LOGIN" in line else with_login)
        with pytest.raises(InvalidContainerfile, match="--mount=type=secret") as raised:
            workshop.forecast(BASE + above + text + "\n")
    assert "hunter2" not in str(raised.value)
    assert not asked


def test_how_far_a_download_is_is_said(workshop):
    with served(whole) as (address, _asked):
        workshop.build(BASE + f"ADD {address}/f?token=hunter2 /f\n")
    assert [line for line in workshop.log if line.startswith(f"fetching {address}/f: 9.0 kB in ")]


def archive_of(*entries):
    """A tar archive of (name, kind, content or target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o700 if kind == tarfile.DIRTYPE else 0o640
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            info.linkname = content.decode() if kind == tarfile.LNKTYPE else ""
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


FILE, FOLDER, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE
TWICE = {
    "file": [("x", FILE, b"first"), ("y", FILE, b"y"), ("x", FILE, b"second")],
    "link": [("x", FILE, b"x"), ("l", LINK, b"x"), ("l", FILE, b"own")],
    "linked": [("x", FILE, b"x"), ("l", LINK, b"x"), ("m", LINK, b"l"), ("x", FILE, b"second"), ("n", LINK, b"x")],
    "links": [("x", FILE, b"x"), ("z", FILE, b"z"), ("l", LINK, b"x"), ("m", LINK, b"l"), ("l", LINK, b"z")],
    "folder": [("d", FOLDER, b""), ("d/y", FILE, b"y"), ("d", FOLDER, b""), ("d/y", FILE, b"y2"), ("d/z", FILE, b"z")],
}


@pytest.mark.parametrize("case", TWICE)
def test_of_a_name_that_an_archive_has_twice_the_last_counts(workshop, tmp_path, case):
    """tar --append and --update make such archives; tar itself says what comes of them."""
    workshop.write("a.tar", archive_of(*TWICE[case]))
    workshop.build(BASE + "ADD a.tar /t/\n")
    run("tar", "-x", "-C", str(tmp_path), "-f", str(workshop.context / "a.tar"))
    ours = next(layer / "t" for layer in workshop.layers() if (layer / "t").exists())
    assert listed(ours) == listed(tmp_path)


def listed(directory):
    """Every path: its mode, its content, and by which names it goes."""
    paths = sorted(directory.rglob("*"))
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else b"",
            [str(other.relative_to(directory)) for other in paths if other.samefile(path)],
        )
        for path in paths
    }


def test_what_is_a_directory_and_a_file_in_one_archive_is_refused(workshop):
    workshop.write("a.tar", archive_of(("x", FOLDER, b""), ("x/y", FILE, b"y"), ("x", FILE, b"x")))
    with pytest.raises(InvalidContainerfile, match="is a directory in the archive, and something else"):
        workshop.build(BASE + "ADD a.tar /t/\n")


def compressed(compression, **files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.mode, info.mtime = len(content), 5, 0o640, 1_000_000_000
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def test_archives_are_unpacked(workshop):
    for compression in ("", "gz", "bz2", "xz"):
        workshop.write(f"a.{compression}", compressed(compression, **{f"in/{compression}x": "content"}))
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
            yield served, f"http://127.0.0.1:{running.server_port}"
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
    with pytest.raises(InvalidContainerfile, match=r"Containerfile:4: ADD: .*404"):
        workshop.build(BASE + f"ADD {address}/none /a\n")
