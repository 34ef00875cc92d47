"""What a kill shows, whole: dry run, receipts and status as text and as JSON, against golden files."""

from __future__ import annotations

import argparse
import io
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.emergency import watch
from perpctl.emergency.closing.closer import Wish
from perpctl.emergency.dry_run.preview import Sight, preview
from perpctl.emergency.evidence import Moment
from perpctl.emergency.fence import Fence
from perpctl.emergency.pending import STEPS, Record
from perpctl.emergency.receipt import judge, make_receipt, sign
from perpctl.emergency.screen.preview import screen as preview_screen
from perpctl.emergency.screen.receipt import screen as receipt_screen
from perpctl.emergency.screen.words import fitted
from perpctl.emergency.steps import Pursuit
from perpctl.emergency.target import Pin, Target
from perpctl.emergency.telling import Told
from perpctl.emergency.venue.gateway.client import Gateway
from perpctl.emergency.venue.gateway.rows import read_book, read_execution, read_order, read_owner, read_position
from perpctl.emergency.venue.port import Book, Product
from perpctl.emergency.venue.wire import Wire
from perpctl.model.flatten import key_of, sort_standing
from perpctl.model.order import Order
from perpctl.model.position import Position

Golden = Callable[[str, str], None]
BTC, ETH = "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"
AT = datetime(2026, 11, 25, 3, 14, 6, 215_000, tzinfo=UTC)
MARKET_MS = 1_795_576_351_000  # 25 Nov 2026 03:12:31 UTC


def same_each_time(text: str) -> str:
    """What differs from run to run in one form: process ids, durations, hashes, the hour."""
    text = re.sub(r"process \d+|\"worker\": \d+", lambda found: re.sub(r"\d+", "PID", found[0]), text)
    text = re.sub(r'("(?:sha256|hmac)": )"[0-9a-f]{64}"', r'\1"HASH"', text)
    text = re.sub(r"sha256 [0-9a-f]{4}\.\.[0-9a-f]{4}", "sha256 HASH", text)
    text = re.sub(r'("at": )"2[^"]+"', r'\1"NOW"', text)
    text = re.sub(r"at \d\d:\d\d:\d\d\.\d{3} UTC, [\d.]+ s after Enter", "at NOW UTC, N s after Enter", text)
    text = re.sub(r"\w{3} \d\d \w{3} \d{4}  \d\d:\d\d:\d\d UTC", "NOW UTC", text)
    text = re.sub(r"still flat \d+ s later", "still flat N s later", text)
    text = re.sub(r'("(?:after_s|held_s|seen_s_ago)": )[\d.]+', r"\1N", text)
    text = re.sub(r"listings [\d.]+ s old", "listings N s old", text)
    return re.sub(r" +[\d.]+ s   ", lambda found: "N s   ".rjust(len(found[0])), text)


def position(product: str, side: str, coins: str, mark: str) -> Position:
    size, price = Decimal(coins), Decimal(mark)
    row = {"instrument_name": product, "direction": side, "size": size * price, "size_currency": size}
    return read_position({**row, "mark_price": price, "delta": size})


def order(number: int, product: str, **members: Any) -> Order:
    row = {"order_id": f"USDC-{number}", "instrument_name": product, "direction": "buy", "order_type": "limit"}
    rest = {"order_state": "open", "amount": Decimal("0.1"), "price": Decimal(84_000), "label": "", "api": True}
    return read_order({**row, **rest, **members})


LONG, SHORT = position(BTC, "buy", "0.85", "84101"), position(ETH, "sell", "-12", "2961.5")
STOP = order(
    7,
    BTC,
    direction="sell",
    order_type="stop_market",
    order_state="untriggered",
    reduce_only=True,
    amount=Decimal("0.85"),
    trigger_price=Decimal(81_690),
    price="market_price",
)
TRIGGER = order(8, ETH, order_type="stop_market", order_state="untriggered", trigger_price=Decimal(3_010), web=True)


def gateway() -> Gateway:
    """Signed in, without any wire behind it."""
    standing = Gateway(Wire("http://127.0.0.1:1/api/v2", None), (), Pin("104821", "desk"))
    money = {
        "equity": "112410.18",
        "margin_balance": "112410.18",
        "maintenance_margin": "2140.5",
        "initial_margin": "0",
    }
    row = {"currency": "USDC", "balance": Decimal(12_004), **{name: Decimal(text) for name, text in money.items()}}
    standing.owner = read_owner({"id": 104821, "username": "desk", "summaries": [row]})
    return standing


@pytest.fixture
def target(home: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.chdir(home)
    directory = Path("desk-a")  # as long on every machine
    return Target(
        profile="desk-a",
        env="live",
        venue="global",
        directory=directory,
        http="https://drb.coinbase.com/api/v2",
        endpoints_file=None,
        exchange_command=None,
        key_files=(),
        ca_file=None,
        pin=Pin("104821", "desk"),
        scope="account",
        currencies=("USDC",),
        symbols=(),
        latches=(directory / "latch",),
        bot_unit=None,
        settings_at_ms=None,
    )


@pytest.fixture
def pursuit(target: Target) -> Pursuit:
    """A kill that has latched, fenced and cancelled."""
    began = time.monotonic()
    wish = Wish(
        kill_id="K-20261125-031402",
        who="ops1 (uid 1001) on bot-1, tty pts/3 from 10.0.4.17",
        reason="quotes run away from mark",
        command='perpctl kill -p desk-a --force --reason "quotes run away from mark"',
        began=began,
        latched=began + 0.04,
        scope="account",
        identity_key=bytes(32),
    )
    made = Pursuit(target, wish, Record(target.directory, wish.kill_id, None), {target.latches[0]: "written"})
    made.venue = gateway()
    made.equity_before = Decimal("112410.18")
    made.spot_orders = 0
    made.fence = Fence(True, "quoter-1 pid 4127 acknowledged: strategy stopped, sends nothing more", began)
    evidence = ("1 of 1 written", made.fence.evidence, "2 listings after the fence show no entry")
    for step, told in zip(STEPS, evidence, strict=False):
        made.mark(step, "proven" if step == "fence" else "done", told)
    return made


def closed(pursuit: Pursuit, held: Position, trade: str, price: str) -> None:
    """The whole position, closed by one fill."""
    pursuit.closer.meet([held])
    done = pursuit.closer.closed[key_of(held)]
    direction, fee = ("sell" if held.size > 0 else "buy"), abs(held.size) * Decimal(price) * Decimal("0.00035")
    row = {"trade_id": trade, "order_id": trade, "instrument_name": held.product_id, "direction": direction}
    money = {"amount": abs(held.size), "price": Decimal(price), "fee": fee, "timestamp": 1, "profit_loss": Decimal(12)}
    fill = read_execution({**row, **money})
    done.arrival, done.orders = held.mark, 1
    done.executions[trade] = fill


def draw(pursuit: Pursuit, *, pending: bool) -> tuple[str, str]:
    told = Told(pursuit.target.directory / "no log")
    told.syslog("KILL")
    receipt = {
        **sign(make_receipt(pursuit, told, pending=pending), pursuit.wish.identity_key),
        "file": "receipts/K.json",
    }
    return receipt_screen(receipt), json.dumps(receipt, indent=1) + "\n"


def compare(golden: Golden, name: str, text: str, facts: str) -> None:
    golden(f"{name}.txt", same_each_time(text))
    golden(f"{name}.json", same_each_time(facts))


def test_the_dry_run(target: Target, golden: Golden) -> None:
    def book(name: str, bid: str, ask: str, size: str) -> Book:
        touch = (Decimal(bid), Decimal(ask))
        steps = [Decimal("0.0005") * number for number in range(12)]
        row = {
            "instrument_name": name,
            "state": "open",
            "timestamp": MARKET_MS - 200,
            "mark_price": touch[0],
            "min_price": touch[0] * Decimal("0.985"),
            "max_price": touch[1] * Decimal("1.015"),
            "bids": [[touch[0] * (1 - step), Decimal(size)] for step in steps],
            "asks": [[touch[1] * (1 + step), Decimal(size)] for step in steps],
        }
        return read_book(row)

    def product(name: str) -> Product:
        return Product(name, name[:3], Decimal("0.1"), Decimal("0.0001"), Decimal("0.00035"))

    sight = Sight(
        standing=sort_standing([order(1, BTC), order(2, ETH), TRIGGER, STOP], [LONG, SHORT]),
        spot_orders=1,
        books={BTC: book(BTC, "84101.0", "84101.1", "0.3"), ETH: book(ETH, "2961.4", "2961.5", "0.9")},
        products={name: product(name) for name in (BTC, ETH)},
        market_ms=MARKET_MS,
        round_trip_s=0.05,
    )
    wished = argparse.Namespace(max_slippage=None, market=False, scope=None, output="table")
    facts = preview(target, wished, gateway(), sight)
    assert facts["closes"][1]["expected"] is None, "a book that does not hold the size tells no price"
    compare(golden, "dry_run", preview_screen(facts), json.dumps(facts, indent=1) + "\n")


def test_the_receipt_of_a_proven_kill(pursuit: Pursuit, golden: Golden) -> None:
    closed(pursuit, LONG, "T1", "84088.66")
    closed(pursuit, SHORT, "T2", "2961.63")
    pursuit.equity_after = Decimal("112328.36")
    pursuit.standing, pursuit.looked_at = sort_standing([], []), time.monotonic()
    pursuit.mark("prove", "done", "reads at 1.50, 2.55 s: no order, no position; margin in use 0.00")
    pursuit.mark("hold", "done", "nothing appeared in 15 s")
    pursuit.first_proven, pursuit.proven_at, pursuit.over = Moment(AT, 0.0), time.monotonic(), True
    text, facts = draw(pursuit, pending=False)
    assert json.loads(facts)["exit"] == 0
    compare(golden, "proven", text, facts)


def test_the_receipt_of_what_is_not_flat(pursuit: Pursuit, golden: Golden) -> None:
    pursuit.standing, pursuit.looked_at = sort_standing([STOP], [LONG, SHORT]), time.monotonic()
    pursuit.closer.meet([LONG, SHORT])
    pursuit.mark("close", "waiting", f"book not open: {BTC}; closes wait")
    pursuit.mark("stops", "kept", "1 stay at the venue")
    text, facts = draw(pursuit, pending=True)
    assert json.loads(facts)["exit"] == 6
    compare(golden, "not_flat", text, facts)


def test_the_receipt_of_what_is_unknown(pursuit: Pursuit, golden: Golden) -> None:
    pursuit.mark("fence", "NOT PROVEN", "quoter-1 pid 4127 on bot-2 did not answer, and only that host can stop it")
    pursuit.broken.append("order USDC-9 BUY 0.2 BTC_USDC-PERPETUAL (label of ours, epoch 41) after 4.2 s")
    pursuit.mark("hold", "BROKEN", pursuit.broken[0])
    pursuit.standing, pursuit.looked_at = sort_standing([], [LONG]), time.monotonic()
    text, facts = draw(pursuit, pending=True)
    assert json.loads(facts)["exit"] == 3
    compare(golden, "unknown", text, facts)


def flat(pursuit: Pursuit) -> None:
    pursuit.standing, pursuit.looked_at = sort_standing([], []), time.monotonic()
    pursuit.first_proven, pursuit.proven_at, pursuit.over = Moment(AT, 0.0), time.monotonic(), True


def unidentified(pursuit: Pursuit) -> None:
    pursuit.venue = None


def unlatched(pursuit: Pursuit) -> None:
    pursuit.latches = dict.fromkeys(pursuit.latches, "refused (disk full)")


def unproven(pursuit: Pursuit) -> None:
    pursuit.proven_at = None


SPOILERS: dict[str, tuple[Callable[[Pursuit], object], int]] = {
    "the last look failed": (lambda it: setattr(it, "trouble", "no answer within 2.0 s"), 3),
    "something appeared in the hold": (lambda it: it.broken.append("order USDC-9"), 3),
    "a close without an outcome": (lambda it: it.closer.unsettled.update(label="no answer"), 3),
    "the venue liquidates": (lambda it: setattr(it.liquidation, "runs", True), 3),
    "nobody knows which account": (unidentified, 3),
    "a latch that was not written": (unlatched, 3),
    "no latch at all": (lambda it: setattr(it, "latches", {}), 3),
    "not proven": (unproven, 6),
    "the hold is not over": (lambda it: setattr(it, "over", False), 6),
    "an old look": (lambda it: (unproven(it), setattr(it, "looked_at", time.monotonic() - 60)), 3),
}


def test_flat_proven_held_latched_and_identified_is_0(pursuit: Pursuit) -> None:
    flat(pursuit)
    assert judge(pursuit) == 0


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_one_thing_that_is_missing_and_it_is_never_0(pursuit: Pursuit, spoiler: str) -> None:
    flat(pursuit)
    spoil, code = SPOILERS[spoiler]
    spoil(pursuit)
    assert judge(pursuit) == code


def test_the_status_of_a_kill_that_nobody_is_at(
    pursuit: Pursuit, golden: Golden, capsys: pytest.CaptureFixture[str]
) -> None:
    pursuit.record.write("started", kill_id=pursuit.wish.kill_id, pid=1, started=0, boot="another", terms={})
    pursuit.trouble = "no answer within 2.0 s"
    _, facts = draw(pursuit, pending=True)
    pursuit.record.write("pending", receipt=json.loads(facts))
    for form, name in (("table", "status.txt"), ("json", "status.json")):
        assert watch.status(pursuit.target, "", form) == 3
        said = capsys.readouterr()
        golden(name, same_each_time(said.out + said.err))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_evidence_is_folded_below_itself_and_a_pipe_gets_it_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    long = f"6 prove    done{6.54:>19} s   reads at 2.64, 4.38, 5.45 s: no order, no position, each with our last close"
    text = f"PROVEN FLAT\n\n{long}\nTOLD      the terminal that asked; {'not told: pager, ' * 6}chat\n"
    assert fitted(text, io.StringIO()) == text
    shown = fitted(text, Terminal()).splitlines()
    assert max(map(len, shown)) <= 100
    assert shown[3].startswith(" " * 36)
    assert " ".join(" ".join(shown).split()) == " ".join(text.split())
