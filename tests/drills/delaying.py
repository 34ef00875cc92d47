"""This file adds a round trip to a loopback connection: a TCP proxy that holds every byte back."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

ONE_WAY_S = 0.025


@contextlib.contextmanager
def delayed(port: int, one_way_s: float = ONE_WAY_S) -> Iterator[int]:
    """A port that leads to `port`, each direction later by `one_way_s`; connecting costs one round trip as well."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    found: list[int] = []
    servers: list[asyncio.Server] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while part := await reader.read(1 << 16):
                loop.call_later(one_way_s, writer.write, part)
            await asyncio.sleep(one_way_s)
        except ConnectionError:
            pass  # one end is gone: so is the other, below
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the end of the line; asyncio prints it otherwise
            await asyncio.sleep(2 * one_way_s)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    async def start() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        found.append(server.sockets[0].getsockname()[1])
        ready.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(servers[0].close)
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        loop.call_soon_threadsafe(loop.call_later, 0.1, loop.stop)
        thread.join(5)
        loop.close()
