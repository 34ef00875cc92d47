"""A paper exchange on which nothing moves by itself: fixed start, fixed seed, and a clock that stands still.

As a module it is that exchange as a process; `Stage` is a hand on it, for states that no command of ours makes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import time_machine

from perpctl import profile
from perpctl.clock import ManualClock
from perpctl.paper import server
from perpctl.paper.keys import KeyRing
from tests.conftest import START, tell
from tests.paper.gateway.trader import sign
from tests.trading import control

BTC = "BTC_USDC-PERPETUAL"
ETH = "ETH_USDC-PERPETUAL"
SOL = "SOL_USDC-PERPETUAL"


PRODUCTS = {
    "global": {"BTC": BTC, "ETH": ETH, "SOL": SOL},
    "us": {"BTC": "BIP-20DEC30-CDE", "ETH": "ETP-20DEC30-CDE", "SOL": "SLP-20DEC30-CDE"},
}


@dataclass(frozen=True)
class Stage:
    """What the exchange's ready line says, and what can be done to it."""

    card: dict[str, Any]
    venue: str = "global"

    @property
    def products(self) -> dict[str, str]:
        """The venue's perpetual on each coin."""
        return PRODUCTS[self.venue]

    def reset(self) -> None:
        """As new: every account flat, the market as it began; two seconds have passed, so there are books."""
        self.tell("/fault", method="DELETE")
        self.tell("/reset")
        self.tell("/state", credits=False)  # on a clock that stands still they would never come back
        self.tell("/switches", cancel_s=0)  # nor would the moment of a cancel that takes a while
        self.tell("/advance", seconds=2)

    def found(self) -> None:
        """Have the commands of the profile find it by themselves."""
        file = profile.load(None).endpoints_file
        assert file is not None
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.card))

    def tell(self, path: str, method: str = "POST", **words: Any) -> Any:
        """One request to the control plane."""
        return tell(f"{self.card['control']}{path}", method=method, **words)

    def fault(self, kind: str, method: str, **rule: Any) -> None:
        """Misbehaviour of one method, as often as it is called."""
        control(self.card, "/fault", {"kind": kind, "method": method, "count": 10_000, **rule})

    def buy_elsewhere(self) -> None:
        """Somebody with the same key buys 40 SOL, in a slot of its own where there are slots."""
        if self.venue == "us":
            self.order("SLP-20DEC30-CDE", "BUY", market_market_ioc={"base_size": "8"})
        else:
            slot = {"instrument_name": SOL, "amount": 40, "isolated": True, "allocated_margin": 1200}
            self.call("private/buy", type="market", **slot)

    def order_by_hand(self) -> None:
        """Somebody with the same key offers 0.01 BTC far above the market."""
        if self.venue == "us":
            self.order("BIP-20DEC30-CDE", "SELL", limit_limit_gtc={"base_size": "1", "limit_price": "88000"})
        else:
            self.call("private/sell", type="limit", instrument_name=BTC, amount=0.01, price=88000, label="by-hand")

    def sweep(self, amount: str) -> None:
        """Whoever may transfer plans to take money out of the futures account when the session ends."""
        folder = Path(self.card["state_dir"])
        file = folder.parent / f"transfer-{uuid.uuid4()}.json"
        KeyRing(folder).create("es256", file, ("view", "transfer"), 1, START)
        path = "/api/v3/brokerage/cfm/sweeps/schedule"
        token = sign(json.loads(file.read_text()), START.timestamp(), uri=f"POST api.coinbase.com{path}")
        self._post(f"{self.card['advanced_trade_rest']}/cfm/sweeps/schedule", {"usd_amount": amount}, token)

    def order(self, product: str, side: str, **configuration: Any) -> None:
        """One order of the US face, under a name that is not ours."""
        path = "/api/v3/brokerage/orders"
        key = json.loads(Path(self.card["key_file"]).read_text())
        token = sign(key, START.timestamp(), uri=f"POST api.coinbase.com{path}")
        name = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{product} by hand"))
        body = {"client_order_id": name, "product_id": product, "side": side, "order_configuration": configuration}
        answer = self._post(f"{self.card['advanced_trade_rest']}/orders", body, token)
        assert answer["success"], answer

    def call(self, method: str, **params: Any) -> Any:
        """One private request as a stranger with the same key would send it: no label of ours, any slot."""
        key = json.loads(Path(self.card["key_file"]).read_text())
        token = self._ask("public/auth", {"grant_type": "coinbase_cdp", "token": sign(key, START.timestamp())}, None)
        return self._ask(method, params, token["access_token"])

    def _ask(self, method: str, params: dict[str, Any], token: str | None) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self._post(self.card["gateway_http"], body, token)["result"]

    def _post(self, url: str, body: dict[str, Any], token: str | None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)


class StillClock(ManualClock):
    """Stands still while sleepers really sleep: for what listens to sockets, where others wait beside it."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))


if __name__ == "__main__":
    with time_machine.travel(START, tick=False):
        sys.exit(server.main(sys.argv[1:]))
