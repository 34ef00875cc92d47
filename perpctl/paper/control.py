"""This file is the control plane of the paper exchange: what tests and `perpctl paper` do that no venue offers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, cast, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from perpctl.errors import UsageError
from perpctl.paper.core import Exchange
from perpctl.paper.faults import KINDS, read_rule
from perpctl.paper.keys import MAIN_ACCOUNT
from perpctl.paper.types import BookState, Rejected
from perpctl.paper.venue import Venue

PATH = "/control"
_LOOPBACK = ("127.0.0.1", "::1")
Answer = dict[str, Any]


@dataclass
class Control:
    """Endpoints without a token, for loopback only."""

    venue: Venue
    wall: Callable[[], float]
    stop: Callable[[], None]
    used: Callable[[], None]  # somebody is here: send what waits, do not leave for idleness

    def routes(self) -> list[BaseRoute]:
        """Every path of the control plane."""
        table: list[tuple[str, str, Callable[[Answer], Answer]]] = [
            ("GET", "/status", self._status),
            ("GET", "/fault", self._faults),
            ("POST", "/fault", self._add_fault),
            ("DELETE", "/fault", self._clear_faults),
            ("POST", "/price", self._price),
            ("POST", "/deposit", self._deposit),
            ("POST", "/deleverage", self._deleverage),
            ("POST", "/state", self._state),
            ("POST", "/advance", self._advance),
            ("POST", "/switches", self._switches),
            ("POST", "/plan-stop", self._plan_stop),
            ("POST", "/app-order", self._app_order),
            ("POST", "/announce", self._announce),
            ("POST", "/expire-tokens", self._expire_tokens),
            ("POST", "/disconnect", self._disconnect),
            ("POST", "/reset", self._reset),
            ("POST", "/shutdown", self._shutdown),
        ]
        return [Route(PATH + path, self._endpoint(act), methods=[method]) for method, path, act in table]

    def _endpoint(self, act: Callable[[Answer], Answer]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            peer = request.client.host if request.client else ""
            if peer not in _LOOPBACK or "origin" in request.headers:
                return _json({"error": "the control plane answers on loopback only, and no browser"}, 403)
            try:
                body = await request.body()
                wanted = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
                self.venue.catch_up(self.wall())
                answer = act({**request.query_params, **wanted})
            except Rejected as no:
                return _json({"error": str(no), "code": no.code}, 400)
            except UsageError as why:
                return _json({"error": why.message}, 400)
            except (msgspec.MsgspecError, InvalidOperation, KeyError, ValueError) as why:
                return _json({"error": f"{type(why).__name__}: {why}"}, 400)
            self.used()
            return _json(answer, 200)

        return endpoint

    def _status(self, wanted: Answer) -> Answer:
        exchange, gateway = self.venue.exchange, self.venue.gateway
        us = self.venue.us
        return {
            "schema": "perpctl.paper.status/1",
            "market_time_ms": exchange.now,
            "wall_time_ms": int(self.wall() * 1000),
            "speed": None if self.venue.speed == float("inf") else self.venue.speed,
            "feed_ended": self.venue.feed_ended,
            "maintenance": exchange.maintenance,
            "connections": len(gateway.sessions) + len(self.venue.us.face.sessions),
            "marks": _marks(exchange),
            "accounts": _accounts(exchange),
            "us": {
                "marks": _marks(us.exchange),
                "accounts": _accounts(us.exchange),
                "switches": us.face.switches,
            },
            "faults": self.venue.faults.list(),
        }

    def _faults(self, wanted: Answer) -> Answer:
        faults = self.venue.faults
        struck = {str(rule): count for rule, count in faults.struck.items()}
        return {"faults": faults.list(), "struck": struck, "kinds": KINDS}

    def _add_fault(self, wanted: Answer) -> Answer:
        return {"id": self.venue.faults.add(read_rule(wanted))}

    def _clear_faults(self, wanted: Answer) -> Answer:
        return {"cleared": self.venue.faults.clear(int(wanted["id"]) if "id" in wanted else None)}

    def _price(self, wanted: Answer) -> Answer:
        name, price = self._followed(str(wanted["instrument_name"])), _number(wanted["price"])
        if not price.is_finite() or price <= 0:
            raise UsageError(f"{wanted['price']!r} is no price: it is a positive number")
        if name not in self.venue.exchange.products:
            listed = ", ".join(sorted(key for key, one in self.venue.exchange.products.items() if one.tradable))
            raise UsageError(f"no such instrument: {name}; there are {listed}")
        self.venue.set_price(name, price)
        return {"instrument_name": name, "mark_price": self.venue.exchange.ticker(name).mark_price}

    def _followed(self, name: str) -> str:
        """The product of the feed whose coin a US product is on: there is one feed, so its price moves both."""
        listed = self.venue.us.exchange.products.get(name)
        if listed is None:
            return name
        return next(p.name for p in self.venue.exchange.products.values() if p.tradable and p.base == listed.base)

    def _exchange(self, wanted: Answer) -> Exchange:
        """Which instance is meant: `venue` us or global, which is the default."""
        venue = str(wanted.get("venue", "global"))
        if venue not in ("us", "global"):
            raise UsageError("venue is us or global")
        return self.venue.us.exchange if venue == "us" else self.venue.exchange

    def _deposit(self, wanted: Answer) -> Answer:
        account, amount = int(wanted.get("account", MAIN_ACCOUNT)), Decimal(str(wanted["amount"]))
        exchange = self._exchange(wanted)
        exchange.deposit(account, amount, exchange.now)
        self._settle()
        return {"account": account, "balance": exchange.account(account).balance}

    def _deleverage(self, wanted: Answer) -> Answer:
        """An account's position shrinks by `amount` because somebody else's had to be closed."""
        account, name = int(wanted.get("account", MAIN_ACCOUNT)), str(wanted["instrument_name"])
        exchange = self._exchange(wanted)
        exchange.deleverage(account, name, Decimal(str(wanted["amount"])), exchange.now)
        self._settle()
        return {"account": account, "position": exchange.position(account, name).size}

    def _state(self, wanted: Answer) -> Answer:
        """`maintenance`, or `instrument_name` with `state`, or `locked`, `position_locked`, `credits`, `strangers`."""
        exchange = self._exchange(wanted)
        if "maintenance" in wanted:
            exchange.set_maintenance(bool(wanted["maintenance"]), exchange.now)
        if "instrument_name" in wanted:
            if wanted["state"] not in get_args(BookState):
                raise UsageError(f"state is one of {', '.join(get_args(BookState))}")
            name = exchange.product(str(wanted["instrument_name"])).name
            exchange.set_book_state(name, cast(BookState, wanted["state"]), exchange.now)
        if "locked" in wanted or "position_locked" in wanted:
            exchange.lock_account(
                int(wanted.get("account", MAIN_ACCOUNT)),
                exchange.now,
                locked=bool(wanted.get("locked")),
                position_locked=bool(wanted.get("position_locked")),
            )
        if "strangers" in wanted:
            self.venue.gateway.let_strangers_in(bool(wanted["strangers"]))
        if "credits" in wanted:
            self.venue.gateway.credits.enabled = self.venue.us.face.limits.enabled = bool(wanted["credits"])
        self._settle()
        return {"market_time_ms": exchange.now}

    def _switches(self, wanted: Answer) -> Answer:
        """Members of the US face's switches: read lag, time to cancel, pending orders, proof token."""
        switches = self.venue.us.face.switches
        switches.change(wanted)
        return {"switches": switches}

    def _plan_stop(self, wanted: Answer) -> Answer:
        """Announce maintenance of the US books, `in_s` market seconds from now and `for_s` long."""
        exchange = self.venue.us.exchange
        start = exchange.now + int(float(wanted["in_s"]) * 1000)
        exchange.plan_stop(start, start + int(float(wanted["for_s"]) * 1000), exchange.now)
        self._settle()
        return {"planned_stop": exchange.planned_stop}

    def _app_order(self, wanted: Answer) -> Answer:
        """An order typed by hand in the simple app: in the same account, and hidden from a list unless asked for."""
        account = int(wanted.pop("account", MAIN_ACCOUNT))
        placed = self.venue.us.face.app_order(account, wanted, self.wall())
        self._settle()
        return placed

    def _advance(self, wanted: Answer) -> Answer:
        self.venue.skip(float(wanted["seconds"]), quiet=bool(wanted.get("quiet", False)))
        return {"market_time_ms": self.venue.exchange.now}

    def _announce(self, wanted: Answer) -> Answer:
        title, body = str(wanted["title"]), str(wanted.get("body", ""))
        important = bool(wanted.get("important", False))
        self.venue.gateway.announce(title, body, important=important, wall_s=self.wall())
        return {"announcements": len(self.venue.gateway.announcements)}

    def _expire_tokens(self, wanted: Answer) -> Answer:
        self.venue.gateway.tokens.expire_all()
        return {"expired": True}

    def _disconnect(self, wanted: Answer) -> Answer:
        ends = [session.cut for session in self.venue.gateway.sessions]
        ends += [session.cut for session in self.venue.us.face.sessions]
        for cut in ends:
            cut()
        return {"disconnected": len(ends)}

    def _reset(self, wanted: Answer) -> Answer:
        self.venue.reset(self.wall())
        return {"market_time_ms": self.venue.exchange.now}

    def _shutdown(self, wanted: Answer) -> Answer:
        self.stop()
        return {"stopping": True}

    def _settle(self) -> None:
        self.venue.publish()
        self.venue.record.commit()
        self.venue.us.record.commit()


def _marks(exchange: Exchange) -> Answer:
    """What positions are valued at, by product."""
    products = [product for product in exchange.products.values() if product.tradable]
    return {product.name: exchange.ticker(product.name).mark_price for product in products}


def _accounts(exchange: Exchange) -> Answer:
    """Money, open orders and positions of every main account."""
    views = [exchange.account(account) for account in exchange.account_ids()]
    return {
        str(view.account_id): {
            "username": view.username,
            "balance": view.balance,
            "equity": view.equity,
            "open_orders": len(exchange.open_orders(view.account_id, include_isolated=True)),
            "positions": {
                held.product: held.size
                for held in exchange.positions(view.account_id, include_isolated=True)
                if held.size
            },
        }
        for view in views
    }


def _json(content: object, status: int) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _number(text: object) -> Decimal:
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return Decimal("NaN")
