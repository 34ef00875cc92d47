"""Serves a file of messages over TLS: to each connection, after its first frame, all at once, then paced and stamped.

Run it as `tls_feed.py CERTIFICATE KEY MESSAGES PACED A_SECOND`. Prints its port. A paced message says when it left
(`SENT`, the machine's monotonic clock, which all its processes share); the last message of each part is END.
"""

import asyncio
import ssl
import sys
import time
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve

CERTIFICATE, KEY, FILE = sys.argv[1:4]
PACED, A_SECOND = int(sys.argv[4]), int(sys.argv[5])
SENT, END = b"00000000000000000000", b'{"channel":"end"}'
FRAMES = Path(FILE).read_bytes().split(b"\n")


async def feed(client: ServerConnection) -> None:
    await client.recv()
    for frame in FRAMES:
        await client.send(frame, text=True)
    await client.send(END, text=True)
    began = time.monotonic()
    for number in range(PACED):
        await asyncio.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
        frame = FRAMES[number % len(FRAMES)]
        await client.send(frame.replace(SENT, b"%020d" % time.monotonic_ns()), text=True)
    await client.send(END, text=True)
    await client.wait_closed()


async def main() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE, KEY)
    async with serve(feed, "127.0.0.1", 0, ssl=tls, compression=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
