"""Takes in what tls_feed.py serves as the client does: its own connection, its own decoder. `URL CA_FILE`."""

import asyncio
import json
import sys
import time
from pathlib import Path

from perpctl.exchange.both.document import decode
from perpctl.exchange.transport import Network


async def main() -> None:
    transport = Network(ca_file=Path(sys.argv[2]))
    wire = await transport.connect(sys.argv[1], 10.0)
    await wire.send(b'{"type":"subscribe","channel":"level2","product_ids":["BTC"]}')
    count, late = 0, []
    message = decode(await wire.receive())
    began = time.process_time()
    while message["channel"] != "end":
        count += 1
        message = decode(await wire.receive())
    taken = time.process_time() - began
    while (message := decode(await wire.receive()))["channel"] != "end":
        late.append(time.monotonic_ns() - int(message["client_id"]))
    print(json.dumps({"us": taken / count * 1e6, "count": count, "late_ns": late}))
    await wire.close()
    await transport.aclose()


asyncio.run(main())
