"""Kills the bot with SIGKILL again and again and asks the exchange's own ledger, which shares no code with us."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from perpctl import profile
from perpctl.clock import SystemClock
from perpctl.desk import Desk
from perpctl.host.process import start_detached
from perpctl.model.order import Order, is_protective
from perpctl.model.position import Position
from tests.conftest import end

SPEED = "30"  # market seconds a second, so that a short life sees fills
READY_S = 20.0
STOP_S = 5.0  # a position may be bare for so long
# Twenty lives spend what the quoter may send by this hour of the day, and the last would rightly keep still.
LEDGERS = {"global": "ledger.jsonl", "us": "us/ledger.jsonl"}  # of each instance, below the exchange's directory
LIMITS = "[profiles.paper.limits]\nmax_orders_day = 100000\n"


@dataclass
class Toll:
    """What the lives came to; every list of trouble should be empty."""

    lives: int = 0
    acknowledged: set[str] = field(default_factory=set)  # trade ids that the bot told us of
    fills: int = 0
    orders: int = 0
    trouble: list[str] = field(default_factory=list)


def survive(directory: Path, lives: int, seed: int, venue: str = "global") -> Toll:
    """`lives` bots, each killed at a random moment; then one that is allowed to live, and the audit."""
    chance, toll = random.Random(seed), Toll()
    config = Path(os.environ["PERPCTL_CONFIG_DIR"])
    config.mkdir(parents=True, exist_ok=True)
    (config / "config.toml").write_text(f'[profiles.paper]\nvenue = "{venue}"\n{LIMITS}')
    settings = profile.load("paper")
    assert settings.endpoints_file is not None
    exchange = settings.endpoints_file.parent
    command = [sys.executable, "-m", "perpctl.paper.server", "--port", "0", "--state-dir", str(exchange)]
    command += ["--speed", SPEED, "--seed", str(seed)]
    ready = start_detached(command, exchange / "server.log", ready_within_s=20)
    try:
        for _ in range(lives):
            _live_and_die(directory, chance, toll)
        _live_and_stop(directory, toll)
        _audit(exchange, venue, toll)
    finally:
        end(int(ready["pid"]))
    return toll


def _started(directory: Path) -> tuple[subprocess.Popen[bytes], Path]:
    out = directory / f"run-{time.monotonic_ns()}.jsonl"
    words = ["run", "--mode", "paper", "--symbols", "BTC-PERP", "--risk-level", "conservative"]
    with out.open("wb") as stdout, (directory / "run.err").open("ab") as stderr:
        return subprocess.Popen([sys.executable, "-m", "perpctl", *words], stdout=stdout, stderr=stderr), out


def _await_trading(bot: subprocess.Popen[bytes], out: Path, toll: Toll) -> bool:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and bot.poll() is None:
        if b'"event":"place"' in out.read_bytes():
            return True
        time.sleep(0.02)
    toll.trouble.append(f"life {toll.lives} never traded (exit {bot.poll()}): {_last_known(out)}")
    return False


def _last_known(out: Path) -> str:
    """What a bot that disappoints wrote, and what it said of itself last."""
    told = [json.loads(line) for line in out.read_bytes().splitlines() if line.endswith(b"}")]
    said = [f"{one.get('at')} {one['event']} {one.get('note') or ''}".strip() for one in told]
    beat = profile.load("paper").state_dir / "bot.json"
    return f"{said[-8:]}; {beat.read_text() if beat.exists() else 'no heartbeat'}"


def _live_and_die(directory: Path, chance: random.Random, toll: Toll) -> None:
    toll.lives += 1
    bot, out = _started(directory)
    try:
        if chance.random() < 0.8:  # the others die while they start
            _await_trading(bot, out, toll)
        time.sleep(chance.uniform(0, 1.5))
    finally:
        bot.send_signal(signal.SIGKILL)
        bot.wait()
    _note_acknowledged(out, toll)


def _live_and_stop(directory: Path, toll: Toll) -> None:
    bot, out = _started(directory)
    _await_trading(bot, out, toll)
    time.sleep(STOP_S)
    _check_stops(toll)
    bot.send_signal(signal.SIGTERM)
    if bot.wait(timeout=20) not in (0, 3):  # 3: an entry was not answered within its two seconds; the ledger judges
        toll.trouble.append(f"the last life ended with {bot.returncode}")
    _note_acknowledged(out, toll)


def _note_acknowledged(out: Path, toll: Toll) -> None:
    for line in out.read_bytes().splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue  # cut short by the kill
        if told.get("event") == "fill":
            toll.acknowledged.add(told["trade_id"])


def _check_stops(toll: Toll) -> None:
    """Every position has its stop within STOP_S: one that was opened a moment before the look may still wait for it."""

    async def look() -> list[str]:
        desk = Desk(profile.load("paper"), SystemClock())
        try:
            exchange = await desk.exchange()
            positions, orders = await exchange.positions(), await exchange.open_orders()
        finally:
            await desk.aclose()
        return [words for held in positions if (words := _bare(held, orders)) is not None]

    until, bare = time.monotonic() + STOP_S, ["nobody looked"]
    while bare and time.monotonic() < until:
        bare = asyncio.run(look())
    toll.trouble += bare


def _bare(held: Position, orders: Sequence[Order]) -> str | None:
    stops = [one for one in orders if one.product_id == held.product_id and is_protective(one, held.size)]
    covered = sum((stop.remaining for stop in stops), Decimal(0))
    return None if covered >= abs(held.size) else f"{held.product_id} {held.size} has stops for {covered} only"


def _told(trade_id: str, venue: str) -> str:
    """What the venue's face calls a trade of its ledger."""
    return trade_id if venue == "global" else hashlib.sha256(trade_id.encode()).hexdigest()


def _audit(exchange: Path, venue: str, toll: Toll) -> None:
    """The exchange's ledger against our journal: every fill once, every intent one order, the same positions."""
    rows = [json.loads(line) for line in (exchange / LEDGERS[venue]).read_bytes().splitlines()]
    fills = {_told(row["trade"]["trade_id"], venue): row["trade"] for row in rows if "trade" in row}
    labels: dict[str, set[str]] = {}
    for row in rows:
        if "order" in row and row["order"].get("label"):
            labels.setdefault(row["order"]["label"], set()).add(row["order"]["order_id"])
    desk = Desk(profile.load("paper"), SystemClock())
    journal = desk.journal()
    try:
        ours = desk.projections()
        booked = Counter(fill.trade_id for fill in ours.fills())
        toll.fills, toll.orders = len(fills), len(labels)
        toll.trouble += [f"fill {one} of the exchange is not in our journal" for one in fills.keys() - booked.keys()]
        toll.trouble += [f"fill {one} is in our journal, not at the exchange" for one in booked.keys() - fills.keys()]
        toll.trouble += [f"fill {one} is booked {count} times" for one, count in booked.items() if count != 1]
        toll.trouble += [f"acknowledged fill {one} is lost" for one in toll.acknowledged - booked.keys()]
        toll.trouble += [f"{label} was sent {len(ids)} times" for label, ids in labels.items() if len(ids) > 1]
        toll.trouble += [f"order {label} was sent without an intent" for label in labels if ours.order(label) is None]
        if not journal.verify().is_whole:
            toll.trouble.append(f"the chain is broken: {journal.verify()}")
        held: dict[str, Decimal] = {}
        for fill in fills.values():
            sign = 1 if fill["direction"] == "buy" else -1
            held[fill["product"]] = held.get(fill["product"], Decimal(0)) + sign * Decimal(fill["amount"])
        for position in ours.positions():
            if position.size != held.get(position.product_id, Decimal(0)):
                toll.trouble.append(
                    f"{position.product_id}: ours {position.size}, theirs {held.get(position.product_id)}"
                )
    finally:
        journal.close()


def main() -> None:
    """`python -m tests.drills.surviving LIVES [SEED] [VENUE]`: the long form, in a directory of its own."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        os.environ["PERPCTL_STATE_DIR"] = f"{place}/state"
        os.environ["PERPCTL_CONFIG_DIR"] = f"{place}/config"
        lives, seed, venue = [*sys.argv[1:], *("1", "global")[len(sys.argv) - 2 :]]
        toll = survive(Path(place), int(lives), int(seed), venue)
    shown = {"lives": toll.lives, "fills": toll.fills, "orders": toll.orders, "acknowledged": len(toll.acknowledged)}
    sys.stdout.write(json.dumps({**shown, "trouble": toll.trouble}, indent=2) + "\n")
    sys.exit(1 if toll.trouble else 0)


if __name__ == "__main__":
    main()
