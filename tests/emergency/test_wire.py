"""Only a whole answer in time is an answer; plaintext goes to loopback only; nobody unproven is spoken to."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme

from perpctl.emergency.venue.wire import HttpAnswer, NoAnswer, Wire, at_once
from perpctl.emergency.world import ThisMachine, side_by_side
from tests.emergency.peer import peer, whole

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def ask(url: str, seconds: float = 2.0) -> HttpAnswer:
    wire = Wire(url)
    try:
        return wire.post("private/test", b"{}", {}, seconds)
    finally:
        wire.hang_up()


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (whole(b'{"result":1}'), b'{"result":1}'),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: x\r\n\r\n", b"abcde"),
        (whole(gzip.compress(b"x" * 9_000), 200, "Content-Encoding: gzip"), b"x" * 9_000),
        (whole(b"no", 503), b"no"),
    ],
    ids=["by length", "chunked", "compressed", "an error"],
)
def test_a_whole_answer_is_read(sent: bytes, body: bytes) -> None:
    with peer(lambda connection, _: connection.sendall(sent)) as there:
        assert ask(there.url).body == body


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        CHUNKED + b"ff\r\nabc",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        whole(gzip.compress(b"x" * 9_000)[:-9], 200, "Content-Encoding: gzip"),
        whole(b"plain", 200, "Content-Encoding: gzip"),
    ],
    ids=["nothing", "cut body", "cut chunk", "not HTTP", "negative", "endless", "cut gzip", "no gzip"],
)
def test_anything_less_than_a_whole_answer_is_none(sent: bytes) -> None:
    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_RDWR)

    with peer(answer) as there, pytest.raises(NoAnswer) as caught:
        ask(there.url)
    assert caught.value.sent


def test_the_deadline_is_on_the_whole_answer_and_not_between_bytes() -> None:
    def drip(connection: socket.socket, _: bytes) -> None:
        for byte in whole(b"x" * 200):
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    with peer(drip) as there:
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            ask(there.url, seconds=0.4)
        assert time.monotonic() - began < 1.0


def test_a_connection_is_kept_for_the_next_call_and_a_closed_one_is_replaced() -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(whole(b"{}"))
        if b"last" in request:
            connection.shutdown(socket.SHUT_RDWR)

    with peer(answer) as there:
        wire = Wire(there.url)
        for path in ("one", "last", "two"):
            assert wire.post(path, b"{}", {}, 2).status == 200
            time.sleep(0.05)
        assert there.connections == 2
        wire.hang_up()


def test_a_refused_connection_was_never_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NoAnswer) as caught:
        ask(f"http://127.0.0.1:{port}/api/v2")
    assert not caught.value.sent


@pytest.mark.parametrize("url", ["http://drb.coinbase.com/api/v2", "http://192.0.2.1/api", "ftp://localhost", "x"])
def test_plaintext_goes_to_loopback_only(url: str) -> None:
    with pytest.raises(NoAnswer) as caught:
        Wire(url)
    assert not caught.value.sent


def tls_peer(certificate: trustme.LeafCert, heard: list[bytes]) -> tuple[socket.socket, threading.Thread]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            raw, _ = listener.accept()
            with raw, context.wrap_socket(raw, server_side=True) as connection:
                heard.append(connection.recv(65_536))
                connection.sendall(whole(b"{}"))
        except OSError:
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener, thread


@pytest.mark.parametrize(
    ("name", "trusted", "accepted"),
    [("localhost", True, True), ("elsewhere.example", True, False), ("localhost", False, False)],
    ids=["right", "wrong host", "unknown authority"],
)
def test_nothing_is_said_to_a_peer_that_is_not_proven(tmp_path: Path, name: str, trusted: bool, accepted: bool) -> None:
    authority, other = trustme.CA(), trustme.CA()
    (authority if trusted else other).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    heard: list[bytes] = []
    listener, thread = tls_peer(authority.issue_cert(name), heard)
    wire = Wire(f"https://localhost:{listener.getsockname()[1]}/api/v2", str(tmp_path / "ca.pem"))
    try:
        if accepted:
            assert wire.post("x", b"{}", {}, 3).status == 200
        else:
            with pytest.raises(NoAnswer) as caught:
                wire.post("x", b"secret", {}, 3)
            assert not caught.value.sent
            assert heard == []
    finally:
        wire.hang_up()
        listener.close()
        thread.join(timeout=5)


def test_an_exception_at_once_is_returned_and_side_by_side_is_raised() -> None:
    def fail() -> int:
        raise NoAnswer("no", sent=True)

    answers = at_once([lambda: 1, fail, lambda: 3])
    assert (answers[0], answers[2]) == (1, 3)
    assert isinstance(answers[1], NoAnswer)
    assert side_by_side(ThisMachine(), lambda: 1, lambda: "two") == (1, "two")
    for pair in ((fail, lambda: 1), (lambda: 1, fail)):
        with pytest.raises(NoAnswer):
            side_by_side(ThisMachine(), *pair)
