"""Who may ask the local service for what: every combination of what a request can carry."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator

import pytest

from perpctl.monitor.access import Access, Caller, uid_of

TOKEN = "0123456789abcdef0123456789abcdef"
OURS = frozenset({os.getuid()})
HOSTS = {"localhost:{}": True, "127.0.0.1:{}": True, "[::1]:{}": True, "LOCALHOST:{}": True}
HOSTS |= {
    "localhost": False,
    "evil.example:{}": False,
    "localhost:1": False,
    "": False,
    "127.0.0.1.evil.example:{}": False,
}
ORIGINS = {
    None: True,
    "http://localhost:{}": True,
    "http://evil.example": False,
    "null": False,
    "http://localhost:1": False,
}
SITES = {None: True, "same-origin": True, "none": True, "same-site": False, "cross-site": False}
TOKENS = {None: False, f"Bearer {TOKEN}": True, f"Basic {TOKEN}": False, "Bearer wrong": False, "Bearer ": False}


@pytest.fixture(params=["127.0.0.1", "::1"])
def line(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """A connection over loopback: client, served end, port."""
    family = socket.AF_INET if request.param == "127.0.0.1" else socket.AF_INET6
    with socket.create_server((request.param, 0), family=family) as server:
        port = server.getsockname()[1]
        client = socket.create_connection((request.param, port))
        served, _ = server.accept()
        with client, served:
            yield client, served, port


def _caller(port: int, peer: tuple[str, int] | None, **headers: str | None) -> Caller:
    told = {name.replace("_", "-"): value.format(port) for name, value in headers.items() if value is not None}
    return Caller(told, peer, port)


def test_the_whole_matrix_is_answered_as_written(line: tuple[socket.socket, socket.socket, int]) -> None:
    client, _, port = line
    peers = {client.getsockname()[:2]: True, None: False}
    for host, origin, site, token, peer, uids in itertools.product(
        HOSTS, ORIGINS, SITES, TOKENS, peers, (OURS, frozenset({65533}))
    ):
        caller = _caller(port, peer, host=host, origin=origin, sec_fetch_site=site, authorization=token)
        access = Access(TOKEN, uids)
        reads = HOSTS[host] and ORIGINS[origin] and SITES[site]
        bare = origin is None and site is None and peers[peer] and uids == OURS
        shown = (host, origin, site, token, peer, uids)
        assert (access.reading(caller) is None) == reads, shown
        assert (access.lowering(caller) is None) == (reads and (TOKENS[token] or bare)), shown
        assert (access.raising(caller) is None) == (reads and TOKENS[token]), shown


def test_any_fetch_header_is_a_browser(line: tuple[socket.socket, socket.socket, int]) -> None:
    client, _, port = line
    for name in ("sec_fetch_mode", "sec_fetch_dest", "sec_fetch_user"):
        caller = _caller(port, client.getsockname()[:2], host="localhost:{}", **{name: "navigate"})
        refused = Access(TOKEN, OURS).lowering(caller)
        assert refused is not None, name
        assert refused.status == 401


def test_the_kernel_names_the_caller(line: tuple[socket.socket, socket.socket, int]) -> None:
    client, _, port = line
    host, from_port = client.getsockname()[:2]
    assert uid_of(host, from_port, port) == os.getuid()
    assert uid_of(host, from_port, port ^ 1) is None
    assert uid_of("192.0.2.1", from_port, port) is None


def test_a_socket_that_its_process_closed_is_nobodys_and_not_roots(
    line: tuple[socket.socket, socket.socket, int],
) -> None:
    client, served, port = line
    host, from_port = client.getsockname()[:2]
    client.close()
    assert served.recv(1) == b""
    assert uid_of(host, from_port, port) is None
