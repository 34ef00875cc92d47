"""The journal against SIGKILL and against flipped bits: nothing acknowledged is lost, nothing is changed unseen."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw
import pytest

from perpctl.errors import StateDamaged
from perpctl.store.intents import Intents
from perpctl.store.journal import Journal, anchor_path
from perpctl.store.projections import Projections, rebuild
from perpctl.store.state_file import verify_state
from tests.store.stock import ALLOWED, GROUNDS, fill, opened, order, payment, request

Life = Callable[[Journal, Callable[[str], None]], None]


def trading(journal: Journal, acknowledge: Callable[[str], None]) -> None:
    """Intent, confirmation and fill of order after order, each acknowledged once it is durable."""
    projections = Projections(journal)
    intents = Intents(projections)
    for n in range(journal.head().seq, 1_000_000):
        name = f"o{n}"
        intents.intend(request(name), ALLOWED, GROUNDS)
        acknowledge(f"intent {name}")
        intents.confirmed(name, order(f"v{n}", name), [fill(f"t{n}", f"v{n}", name)])
        acknowledge(f"fill t{n}")


def acknowledging_too_early(journal: Journal, acknowledge: Callable[[str], None]) -> None:
    """The defect that the drill must see: acknowledged first, committed later."""
    projections = Projections(journal)
    for n in range(journal.head().seq, 1_000_000, 10):
        with journal.batch():
            for m in range(n, n + 10):
                projections.book_fill(fill(f"t{m}", f"v{m}"), "reply")
                acknowledge(f"fill t{m}")


def live_and_die(directory: Path, life: Life, seconds: float) -> list[str]:
    """Run `life` in a process of its own, SIGKILL it after so long, and return what it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            life(opened(directory), lambda text: os.write(writing, f"{text}\n".encode()) and None)
        finally:
            os._exit(1)
    os.close(writing)
    select.select([reading], [], [], 20)  # alive: it acknowledged something
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as acknowledged:
        told = acknowledged.read().decode()
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    return told.split("\n")[:-1]


def lost(journal: Journal, acknowledged: list[str]) -> list[str]:
    projections = Projections(journal)
    known = {f"fill {one.trade_id}" for one in projections.fills()}
    known |= {f"intent {one.identity}" for one in projections.orders()}
    return [one for one in acknowledged if one not in known]


def test_a_writer_killed_at_random_moments_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(7)
    opened(tmp_path).close()
    acknowledged: list[str] = []
    for _ in range(30):
        acknowledged += live_and_die(tmp_path, trading, chance.uniform(0, 0.03))
        with opened(tmp_path) as journal:
            assert lost(journal, acknowledged) == []
            assert journal.verify().is_whole
    with opened(tmp_path) as journal:
        assert Projections(journal).differences(rebuild(journal)) == ()
    assert len(acknowledged) > 60
    assert len(set(acknowledged)) == len(acknowledged)


def test_the_drill_sees_an_acknowledgement_before_the_commit(tmp_path: Path) -> None:
    chance = random.Random(7)
    opened(tmp_path).close()
    for _ in range(30):
        acknowledged = live_and_die(tmp_path, acknowledging_too_early, chance.uniform(0, 0.02))
        with opened(tmp_path) as journal:
            if lost(journal, acknowledged):
                return
    pytest.fail("acknowledged first and committed later, and nothing was ever missed")


def a_traded_day(directory: Path, orders: int = 20) -> Journal:
    journal = opened(directory)
    projections = Projections(journal)
    intents = Intents(projections)
    for n in range(orders):
        intents.intend(request(f"o{n}"), ALLOWED, GROUNDS)
        intents.confirmed(f"o{n}", order(f"v{n}", f"o{n}"), [fill(f"t{n}", f"v{n}", f"o{n}")])
        projections.book_funding(payment(f"f{n}"), "listing")
    return journal


def content(path: Path) -> object:
    """Everything that can be read out of the file, or the reason why nothing can."""
    connection = apsw.Connection(str(path))
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    except (apsw.Error, UnicodeDecodeError) as error:
        return repr(error)
    finally:
        connection.close()


def is_reported(path: Path) -> bool:
    try:
        return not verify_state(path).is_sound
    except StateDamaged:
        return True


def flipped(source: Path, target: Path, chance: random.Random, spots: Sequence[int]) -> None:
    spoiled = bytearray(source.read_bytes())
    spoiled[chance.choice(spots)] ^= 1 << chance.randrange(8)
    target.write_bytes(spoiled)


@pytest.mark.parametrize("seed", range(5))
def test_each_flipped_bit_that_changes_a_value_is_reported(tmp_path: Path, seed: int) -> None:
    a_traded_day(tmp_path).close()
    source, target = tmp_path / "journal.db", tmp_path / "spoiled.db"
    whole, chance = content(source), random.Random(seed)
    assert not is_reported(source)
    spots = [at for at, byte in enumerate(source.read_bytes()) if byte]
    changed = 0
    while changed < 100:
        flipped(source, target, chance, spots)
        if content(target) != whole:
            changed += 1
            assert is_reported(target)


def test_a_flipped_bit_in_the_wal_is_reported_or_changes_nothing(tmp_path: Path) -> None:
    journal = a_traded_day(tmp_path, orders=4)
    whole = content(tmp_path / "journal.db")
    chance, reported = random.Random(1), 0
    wal = tmp_path / "journal.db-wal"
    for n in range(100):
        (copy := tmp_path / f"copy{n}").mkdir()
        for path in (tmp_path / "journal.db", anchor_path(tmp_path / "journal.db")):
            shutil.copy(path, copy)
        flipped(wal, copy / "journal.db-wal", chance, range(wal.stat().st_size))
        found = is_reported(copy / "journal.db")
        reported += found
        assert found or content(copy / "journal.db") == whole
    journal.close()
    assert reported > 50
