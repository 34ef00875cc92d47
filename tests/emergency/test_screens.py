"""What a kill shows: the dry run, the kill while it runs, the receipt; as text and as JSON."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.emergency import preview, receipt
from perpctl.emergency.closer import Closed, Wish
from perpctl.emergency.fence import Sighted
from perpctl.emergency.pending import Record
from perpctl.emergency.screen import preview as preview_screen
from perpctl.emergency.screen import receipt as receipt_screen
from perpctl.emergency.screen.progress import Progress
from perpctl.emergency.steps import Pursuit
from perpctl.emergency.telling import tell_syslog
from perpctl.emergency.venue.rows import Execution
from perpctl.model.fill import Fill
from perpctl.model.order import Side
from tests.emergency import desk
from tests.emergency.desk import BTC, D

Golden = Callable[[str, str], None]
KILL = "K-20261125-031402"


def told(steps: Pursuit, **states: tuple[str, float, str]) -> None:
    for name, (state, after_s, evidence) in states.items():
        step = steps.steps[name]
        step.state, step.after_s, step.evidence = state, after_s, evidence


def fill(number: int, size: str, price: str, fee: str, realized: str) -> Execution:
    done = Fill(
        trade_id=f"T-{number}",
        order_id=f"USDC-{number}",
        identity=None,
        product_id=BTC,
        side=Side.SELL,
        size=D(size),
        price=D(price),
        fee=D(fee),
        fee_currency="USDC",
        liquidity="T",
        at_ms=1_795_576_445_000,
    )
    return Execution(done, D(realized))


@pytest.fixture
def pursuit(tmp_path: Path) -> Pursuit:
    """A kill that has latched and fenced; what came of it is for the test to say."""
    wish = Wish(KILL, "ops1 (uid 1001) on bot-1, tty pts/3", "quotes run away", "perpctl kill -p desk-a --force",
                time.monotonic() - 18.62, "account")  # fmt: skip
    pursuit = Pursuit(
        desk.TARGET, wish, Record(tmp_path, KILL, None), {Path("/var/lib/trading/desk-a/latch"): "written"}
    )
    told(
        pursuit,
        latch=("done", 0.04, "1 of 1 written: /var/lib/trading/desk-a/latch"),
        fence=("proven", 0.12, "pid 4127 acknowledged: strategy stopped, sends nothing more"),
    )
    pursuit.told = [{"channel": "syslog", "at": "2026-11-25T03:14:03.100+00:00", "failed": None}]
    pursuit.gateway = answering()
    pursuit.equity_before, pursuit.equity_after = D("98210.55"), D("98128.73")
    pursuit.spot_orders = 0
    return pursuit


def answering() -> Any:
    """The venue, signed in as the pinned account; nothing is sent to it here."""
    from perpctl.emergency.venue.gateway import Gateway
    from perpctl.emergency.venue.wire import Wire

    gateway = Gateway(Wire("http://127.0.0.1:9/api/v2", None), desk.TARGET.key_files, desk.TARGET.pin)
    gateway.owner = desk.OWNER
    return gateway


def settled(facts: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The receipt with what differs from run to run made the same: moments, the process, the folder."""
    text = json.dumps(facts).replace(str(tmp_path), "/var/lib/trading/desk-a")
    same: dict[str, Any] = json.loads(text)
    same |= {"at": "2026-11-25T03:14:20.630+00:00", "after_s": 18.62, "worker": 4711}
    if same["proven"]:
        same["proven"] = {"at": "2026-11-25T03:14:05.610+00:00", "after_s": 3.6, "held_s": 15.0}
    if same["left"]["seen_s_ago"] is not None:
        same["left"]["seen_s_ago"] = 0.4
    return {**receipt.sign(same, None), "file": f"/var/lib/trading/desk-a/receipts/{KILL}.json"}


def shown(golden: Golden, name: str, facts: dict[str, Any], text: str) -> None:
    golden(f"{name}.txt", text)
    golden(f"{name}.json", json.dumps(facts, indent=1) + "\n")


# --- the dry run -----------------------------------------------------------------------------------------------------


def test_the_dry_run_says_what_each_step_takes_and_what_each_close_costs(golden: Golden) -> None:
    facts = preview.facts_of(desk.TARGET, desk.seen(), desk.WISHED, desk.AT)
    shown(golden, "kill-dry-run", facts, preview_screen.screen(facts))


def test_the_dry_run_of_a_book_that_is_too_thin_guesses_no_price(golden: Golden) -> None:
    thin = desk.seen(
        books={**desk.seen().books, BTC: desk.book([("84100.4", "0.1")], [])},
        locked="partial",
        bot=Sighted(False, 2.0, "trend-2 pid 2207 is on bot-1, NOT THIS HOST: only asked"),
        key={"id": "..77d0", "trade": None, "transfer": None},
    )
    facts = preview.facts_of(replace(desk.TARGET, scope_set=False), thin, desk.WISHED, desk.AT)
    close = facts["closes"][0]
    assert (close["expected"], close["slippage"], close["fee"]) == (None, None, None)
    assert facts["cost"]["not_known"] == 1
    assert facts["steps"][6]["what"][0].startswith("60 s"), "an unproven fence is held out longer"
    shown(golden, "kill-dry-run-thin", facts, preview_screen.screen(facts))


def test_the_sums_of_the_dry_run_are_those_of_its_rows() -> None:
    facts = preview.facts_of(desk.TARGET, desk.seen(), desk.WISHED, desk.AT)
    rows, cost = facts["closes"], facts["cost"]
    assert sum(Decimal(row["slippage"]) for row in rows) == Decimal(cost["slippage"])
    assert sum(Decimal(row["fee"]) for row in rows) == Decimal(cost["fees"])
    assert Decimal(cost["slippage"]) + Decimal(cost["fees"]) == Decimal(cost["total"])
    sell = rows[0]  # 0.5 at the best bid and 0.35 a level below
    assert Decimal(sell["expected"]) == ((D("84100.4") * D("0.5") + D("84050") * D("0.35")) / D("0.85")).quantize(
        D("0.01")
    )


def test_the_dry_run_fits_its_width() -> None:
    text = preview_screen.screen(preview.facts_of(desk.TARGET, desk.seen(), desk.WISHED, desk.AT))
    assert max(map(len, text.splitlines())) <= 110


# --- the receipt -----------------------------------------------------------------------------------------------------


def test_the_receipt_of_a_proven_kill(pursuit: Pursuit, golden: Golden, tmp_path: Path) -> None:
    pursuit.standing, pursuit.looked_at = desk.sort_standing((), ()), time.monotonic()
    pursuit.over, pursuit.proven_at = True, pursuit.wish.began + 3.6
    pursuit.closer.closed[BTC, None] = Closed(
        D("0.85"),
        D("84100.5"),
        {"T-1": fill(1, "0.5", "84100.4", "14.72", "340.10"), "T-2": fill(2, "0.35", "84050", "10.30", "226.55")},
        orders=2,
    )
    told(
        pursuit,
        entries=("done", 0.62, "3 seen, all gone: 2 listings after the fence show no entry"),
        close=("done", 1.27, "1 of 1 positions, 2 orders, 0 refused"),
        stops=("done", 1.48, "2 cancelled after their position read zero"),
        prove=("done", 3.6, "6 reads agree, at 1.50, 2.55 s; each shows our last close; margin in use 0.00"),
        hold=("done", 18.6, "nothing appeared in 15 s"),
        stop=("done", 18.62, "trading-bot-perpetuals.service inactive; stays off until perpctl resume"),
    )
    facts = settled(receipt.make_receipt(pursuit, pending=False), tmp_path)
    assert (facts["exit"], facts["verdict"]) == (0, "PROVEN FLAT")
    shown(golden, "kill-receipt-proven", facts, receipt_screen.screen(facts))


def test_the_receipt_of_a_kill_that_goes_on_says_what_stands_and_who_finishes(
    pursuit: Pursuit, golden: Golden, tmp_path: Path
) -> None:
    pursuit.standing, pursuit.looked_at = desk.standing(), time.monotonic()
    pursuit.waits = f"book not open: {BTC}; closes wait"
    pursuit.told = [{"channel": "syslog", "at": "2026-11-25T03:14:03.100+00:00", "failed": "/dev/log: No such file"}]
    told(
        pursuit,
        entries=("under way", 0.96, "3 left"),
        close=("waiting", 1.1, pursuit.waits),
        stops=("waiting", None, ""),  # type: ignore[arg-type]
        stop=("done", 5.2, "trading-bot-perpetuals.service inactive; stays off until perpctl resume"),
    )
    facts = settled(receipt.make_receipt(pursuit, pending=True), tmp_path)
    assert (facts["exit"], facts["verdict"]) == (6, "NOT FLAT")
    shown(golden, "kill-receipt-not-flat", facts, receipt_screen.screen(facts))


def test_the_receipt_of_an_account_where_somebody_else_trades(pursuit: Pursuit, golden: Golden, tmp_path: Path) -> None:
    pursuit.standing, pursuit.looked_at = desk.sort_standing((), ()), time.monotonic()
    pursuit.over, pursuit.proven_at = True, pursuit.wish.began + 9.0
    pursuit.broken = ["order USDC-31 BUY 0.2000 BTC_USDC-PERPETUAL (web, not ours) after 4.2 s"]
    told(
        pursuit,
        entries=("done", 0.62, "1 seen, all gone: 2 listings after the fence show no entry"),
        close=("done", 13.1, "1 of 1 positions, 1 orders, 0 refused"),
        stops=("done", 13.2, "0 cancelled after their position read zero"),
        prove=("done", 14.3, "6 reads agree, at 13.30, 14.30 s; each shows our last close; margin in use 0.00"),
        hold=("BROKEN, then quiet", 18.6, "nothing appeared in 15 s"),
        stop=("none", 18.62, "the profile names no service"),
    )
    facts = settled(receipt.make_receipt(pursuit, pending=False), tmp_path)
    assert (facts["exit"], facts["verdict"]) == (3, "UNKNOWN")
    shown(golden, "kill-receipt-unknown", facts, receipt_screen.screen(facts))


def test_a_proof_is_worth_nothing_without_the_latch(pursuit: Pursuit) -> None:
    pursuit.standing, pursuit.looked_at = desk.sort_standing((), ()), time.monotonic()
    pursuit.over, pursuit.proven_at = True, pursuit.wish.began + 3.6
    assert receipt.judge(pursuit) == 0
    pursuit.latches = {Path("/var/lib/trading/desk-a/latch"): "refused (read-only)"}
    assert receipt.judge(pursuit) == 3


# --- while it runs ---------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines() -> list[dict[str, Any]]:
    return [
        {"event": "step", "step": "latch", "state": "done", "after_s": 0.04, "text": "1 of 1 written"},
        {"event": "step", "step": "close", "state": "under way", "after_s": 0.64, "text": "BTC 0.85 before this round"},
        {"event": "beat", "after_s": 1.0},
        {"event": "step", "step": "close", "state": "done", "after_s": 1.27, "text": "1 of 1 positions"},
    ]


def test_without_a_terminal_each_step_is_a_line(golden: Golden) -> None:
    talk = io.StringIO()
    progress = Progress(talk)
    for line in lines():
        progress.say(line)
    golden("kill-progress.txt", talk.getvalue())


def test_on_a_terminal_a_step_is_drawn_over_its_older_self() -> None:
    talk = Terminal()
    progress = Progress(talk)
    for line in lines():
        progress.say(line)
    *_, last = talk.getvalue().split("\x1b[J")
    assert talk.getvalue().count("\x1b[1F\x1b[J") == 1
    assert talk.getvalue().count("\x1b[2F\x1b[J") == 1, "back over as many lines as were drawn"
    assert [line.split()[3:5] for line in last.splitlines()] == [["latch", "done"], ["close", "done"]]


def test_what_is_asked_in_between_is_not_drawn_over() -> None:
    talk = Terminal()
    progress = Progress(talk)
    progress.say(lines()[0])
    progress.let_stand()
    talk.write("Stop watching? [y/N] n\n")
    progress.say(lines()[1])
    assert "\x1b[" not in talk.getvalue()


# --- whom we tell ----------------------------------------------------------------------------------------------------


def test_the_machines_log_is_told_in_one_line(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        assert tell_syslog("PAPER: KILL\nby ops1", tmp_path / "log")["failed"] is None
        assert log.recv(1024).startswith(b"<10>perpctl[")


def test_who_could_not_be_told_is_named_with_the_reason(tmp_path: Path) -> None:
    assert tell_syslog("KILL", tmp_path / "log")["failed"] == f"{tmp_path}/log: No such file or directory"
