"""Certificates that are not in order: nothing is sent, and there is no way around it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from perpctl.errors import SettingError
from perpctl.exchange.http import NotSent, tls_context
from perpctl.exchange.transport import Network


@asynccontextmanager
async def peer(certificate: trustme.LeafCert) -> AsyncIterator[tuple[int, list[bytes]]]:
    """An HTTPS server that notes what it is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await asyncio.sleep(0.01)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


async def test_a_certificate_of_the_named_authority_is_accepted(authority: trustme.CA, ca_file: Path) -> None:
    network = Network(ca_file)
    async with peer(authority.issue_cert("127.0.0.1")) as (port, _):
        assert (await network.post(f"https://127.0.0.1:{port}/", b"{}", {}, 2.0)).status == 200
        await network.aclose()


@pytest.mark.parametrize("fault", ["wrong host", "unknown authority", "expired"])
async def test_a_certificate_out_of_order_gets_no_token(authority: trustme.CA, ca_file: Path, fault: str) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificate = {
        "wrong host": lambda: authority.issue_cert("drb.coinbase.com"),
        "unknown authority": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=yesterday),
    }[fault]()
    network = Network(ca_file)
    async with peer(certificate) as (port, heard):
        with pytest.raises(NotSent):
            await network.post(f"https://127.0.0.1:{port}/", b"{}", {"authorization": "Bearer secret"}, 2.0)
        with pytest.raises(NotSent):
            await network.connect(f"wss://127.0.0.1:{port}/", 2.0)
        assert heard == []
    await network.aclose()


async def test_the_system_does_not_trust_a_private_authority(authority: trustme.CA) -> None:
    network = Network()
    async with peer(authority.issue_cert("127.0.0.1")) as (port, heard):
        with pytest.raises(NotSent):
            await network.post(f"https://127.0.0.1:{port}/", b"{}", {}, 2.0)
        assert heard == []
    await network.aclose()


def test_a_certificate_file_that_is_none_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pem", tmp_path / "empty.pem"):
        if path.name == "empty.pem":
            path.write_text("")
        with pytest.raises(SettingError, match=path.name):
            tls_context(path)
