"""Takes in what tls_feed.py serves with the WebSocket client of Coinbase's SDK and `json`, as its own examples do."""

import json
import sys
import threading
import time

from coinbase.websocket import WSClient


class Listener:
    """Counts the first part, and notes how late each message of the second is."""

    def __init__(self) -> None:
        self.parts: list[float] = []
        self.late: list[int] = []
        self.count = 0
        self.began: float | None = None
        self.over = threading.Event()

    def told(self, text: str) -> None:
        message = json.loads(text)
        if self.began is None:
            self.began = time.process_time()
        if message["channel"] == "end":
            self.parts.append(time.process_time() - self.began)
            if len(self.parts) == 2:
                self.over.set()
        elif self.parts:
            self.late.append(time.monotonic_ns() - int(message["client_id"]))
        else:
            self.count += 1


listener = Listener()
client = WSClient(base_url=sys.argv[1], on_message=listener.told, retry=False)
client.open()
client.subscribe(["BTC"], ["level2"])
listener.over.wait(300)
us = listener.parts[0] / listener.count * 1e6
print(json.dumps({"us": us, "count": listener.count, "late_ns": listener.late}))
client.close()
