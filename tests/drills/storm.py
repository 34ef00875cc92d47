"""Faults by name, alone for tests, or drawn by seed for long: `python -m tests.drills.storm SECONDS SEED`."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.drills.arena import BTC, Arena, arena

Rules = list[dict[str, Any]]
HTML = "<!DOCTYPE html><html><title>Just a moment...</title></html>"
ORDERS = ("private/buy", "private/sell")


def on_orders(kind: str, *, count: int = 1, **words: Any) -> Rules:
    """The same fault on entries and stops, whatever carries them."""
    return [{"kind": kind, "method": method, "count": count, **words} for method in ORDERS]


def on_cancels(kind: str, **words: Any) -> Rules:
    return [{"kind": kind, "method": "private/cancel", "count": 2, **words}]


def refusing(code: int, message: str, method: str = "private/*", count: int = 3) -> Rules:
    return [{"kind": "error", "method": method, "count": count, "code": code, "message": message}]


# name of the incident, or row of the fault matrix -> rules that strike, then are gone
WIRE: dict[str, Rules] = {
    "H1 lost-before-the-core": on_orders("drop_before"),
    "timeout-after-accept": on_orders("drop_after"),
    "N2 answer-beyond-the-deadline": on_orders("delay_answer", seconds=6.0, count=1),
    "N8 request-late": on_orders("delay", seconds=1.5),
    "H13 cancel-lost-before": on_cancels("drop_before"),
    "H13 cancel-answer-lost": on_cancels("drop_after"),
    "N2 cancel-beyond-the-deadline": on_cancels("delay_answer", seconds=4.0),
    "H3 503-instead-of-an-answer": on_orders("http_status", status=503, body="upstream"),
    "H7 html-for-json": on_orders("http_status", status=200, body=HTML),
    "H7 empty-body": on_orders("http_status", status=200, body=""),
    "H4 10028-too-many-requests": refusing(10028, "too_many_requests", "private/buy", 2),
    "10041 settlement-in-progress": refusing(10041, "settlement_in_progress"),
    "10040 retry": refusing(10040, "retry"),
    "11051 system-maintenance": refusing(11051, "system_maintenance"),
    "H5 13009-unauthorized": refusing(13009, "unauthorized", "private/buy", 1),
    "11094 uncertain-write": refusing(11094, "internal_server_error", "private/[bs]*", 3),
    "expired-token": [{"kind": "expired_token", "count": 4}],
    "W2 duplicate-user-messages": [{"kind": "duplicate", "method": "user.*", "count": 20}],
    "W2 reordered-user-messages": [{"kind": "reorder", "method": "user.*", "count": 10, "probability": 0.5}],
    "W4 lost-user-messages": [{"kind": "gap", "method": "user.*", "count": 6, "probability": 0.5}],
    "W1 book-gap": [{"kind": "gap", "method": "book.*", "count": 3}],
}


def struck(place: Arena, rules: Rules, within_s: float = 30.0) -> None:
    """Put rules in force and trade on until each has struck; then a moment more for those that strike often.

    Raises AssertionError for a rule that never did: a fault that did not happen proves nothing.
    """
    ids = [place.fault(rule) for rule in rules]
    ends = time.monotonic() + within_s
    while missing := [rule for rule, number in zip(rules, ids, strict=True) if not place.strikes(number)]:
        assert time.monotonic() < ends, f"never struck: {missing}"
        place.keep_trading()
        time.sleep(0.05)
    more = time.monotonic() + 2.0
    while place.tell("fault", method="GET")["faults"] and time.monotonic() < more:
        time.sleep(0.05)


def _told(place: Arena, word: str) -> int:
    assert place.bot is not None
    return len(place.bot.events(word))


def _until_told(place: Arena, word: str, before: int) -> None:
    """The bot noticed."""
    assert place.bot is not None
    place.bot.until(lambda: _told(place, word) > before, 20.0)


def cut_sockets(place: Arena) -> None:
    """feed-silent: every socket is cut."""
    before = _told(place, "feed_lost")
    place.tell("disconnect")
    _until_told(place, "feed_lost", before)


def refuse_reads(place: Arena) -> None:
    """false-flat-on-error: what is read on the new connection fails, and must not be taken for nothing."""
    rules: Rules = [
        {"kind": "error", "method": method, "count": 6} for method in ("private/get_positions", "private/get_open_*")
    ]
    place.tell("disconnect")
    struck(place, rules)


def outage(place: Arena) -> None:
    """N1: nothing answers for five seconds."""
    before = _told(place, "feed_lost")
    place.fault({"kind": "outage"})
    time.sleep(5)
    _until_told(place, "feed_lost", before)


def expire_tokens(place: Arena) -> None:
    """The next private call of each way finds its sign-in lapsed."""
    assert place.tell("expire-tokens")
    time.sleep(1)


def lock_book(place: Arena) -> None:
    """X2: the book takes nothing but cancels."""
    for state in ("locked", "halted"):
        place.tell("state", instrument_name=BTC, state=state)
        _takes_nothing(place)
    place.tell("state", instrument_name=BTC, state="open")


def maintain(place: Arena) -> None:
    """X1: the platform is in maintenance."""
    place.tell("state", maintenance=True)
    _takes_nothing(place)
    place.tell("state", maintenance=False)


def _takes_nothing(place: Arena, seconds: float = 2.0) -> None:
    """A bot that never rests gets no order through: the state is really in force."""
    time.sleep(0.3)  # what was on its way has arrived
    before = set(place.ledger().orders)
    time.sleep(seconds)
    fresh = [one for key, one in place.ledger().orders.items() if key not in before]
    assert all(one["state"] == "rejected" for one in fresh), fresh


def jump(place: Arena) -> None:
    """X8: the price jumps up and down by half a percent, again and again."""
    mark = float(place.tell("status", method="GET")["marks"][BTC])
    for factor in (1.005, 0.995, 1.004, 1.0):
        before = float(place.tell("status", method="GET")["marks"][BTC])
        after = float(place.tell("price", instrument_name=BTC, price=f"{mark * factor:.1f}")["mark_price"])
        assert abs(after / before - 1) > 0.001, f"the price went from {before} to {after} only"
        time.sleep(0.5)


def crash_exchange(place: Arena) -> None:
    """The exchange dies by SIGKILL and is back a second later."""
    before = int(place.ready["pid"])
    place.kill_exchange()
    time.sleep(1)
    place.restart_exchange()
    assert int(place.ready["pid"]) != before


WORLD: dict[str, Callable[[Arena], None]] = {
    "feed-silent": cut_sockets,
    "false-flat-on-error": refuse_reads,
    "N1 outage": outage,
    "expired-tokens": expire_tokens,
    "X2 book-locked": lock_book,
    "X1 maintenance": maintain,
    "X8 price-jumps": jump,
    "exchange-killed": crash_exchange,
}


@dataclass
class Sizes:
    """Memory and descriptors of each bot that lived, from its first look to its last."""

    seen: dict[int, list[tuple[float, int, int]]] = field(default_factory=dict)

    def look(self, pid: int) -> None:
        with contextlib.suppress(OSError, IndexError, StopIteration):  # it has just ended
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
            count = len(os.listdir(f"/proc/{pid}/fd"))
            self.seen.setdefault(pid, []).append((time.monotonic(), rss, count))

    def longest(self) -> dict[str, Any]:
        """Of the bot that lived longest; growth from its second look on, when everything is loaded."""
        looks = max(self.seen.values(), key=lambda one: one[-1][0] - one[0][0], default=[])[1:]
        if not looks:
            return {}
        (began, rss, count), (ended, last, left) = looks[0], looks[-1]
        return {
            "lived_s": round(ended - began),
            "rss_mb": [round(rss / 1024, 1), round(last / 1024, 1)],
            "descriptors": [count, max(one[2] for one in looks), left],
            "bots": len(self.seen),
        }


def soak(place: Arena, seconds: float, seed: int) -> dict[str, Any]:
    """One fault after the other, drawn by seed, with the whole audit after each."""
    chance, counts, trouble, sizes = random.Random(seed), Counter[str](), [], Sizes()
    names = [*WIRE, *WORLD]
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        name = chance.choice(names)
        counts[name] += 1
        try:
            sizes.look(place.trading().process.pid)
            struck(place, WIRE[name]) if name in WIRE else WORLD[name](place)
            found = place.heal() + place.positions_agree()
            if place.bot is not None:
                sizes.look(place.bot.process.pid)
        except AssertionError as why:
            found = [str(why)[-1500:]]
        trouble += [f"{name}: {one}" for one in found]
    ledger = place.ledger()
    shown = {"orders": len(ledger.orders), "fills": len(ledger.fills), "worst_notional": str(ledger.worst)}
    return {"seed": seed, **shown, "longest": sizes.longest(), "scenarios": counts, "trouble": trouble}


def main() -> None:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as directory:
        os.environ["PERPCTL_STATE_DIR"] = f"{directory}/state"
        os.environ["PERPCTL_CONFIG_DIR"] = f"{directory}/config"
        with arena(Path(directory), seed) as place:
            came_to = soak(place, seconds, seed)
    sys.stdout.write(json.dumps(came_to, indent=2) + "\n")
    sys.exit(1 if came_to["trouble"] else 0)


if __name__ == "__main__":
    main()
