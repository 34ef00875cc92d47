"""How answers are drawn: the first lines, folding, ages, safe text, and the four forms of the same facts."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpctl import layout, render
from perpctl.errors import AccountMismatch, ExitCode, UsageError
from perpctl.layout import Paper, clean, csv_text, fitted, page
from perpctl.render import Form
from perpctl.results import Age, Answer, Block, Column, Line, Next, Row, Scope, Standing, Table, Tone, Verbatim

AT = datetime(2026, 11, 25, 3, 12, 7, 118_000, tzinfo=UTC)
DESK_A = Scope("live", "global", "desk-a", "104821", "pinned", AT)
WIDE, NARROW = Paper(110, False, False), Paper(80, False, False)


def answer(*view: Block, scope: Scope | None = DESK_A, **more: Any) -> Answer:
    return Answer("perpctl.test/1", scope, more.pop("facts", {}), view, **more)


def shown(drawn: Answer, form: Form) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        render.show(drawn, form)
    return out.getvalue()


def test_the_first_line_is_money_venue_profile_account_and_clock() -> None:
    first = page(answer(), WIDE, 0).splitlines()[0]
    assert first.startswith("LIVE  global  profile desk-a  account 104821 = pinned  ")
    assert first.endswith("  Wed 25 Nov 2026  03:12:07 UTC")
    assert len(first) == 110


def test_at_80_columns_nothing_of_the_first_line_is_lost() -> None:
    scope = Scope("live", "global", "a-long-name-of-a-desk", "104821-104821", "differs", AT)
    lines = page(answer(scope=scope), NARROW, 0).splitlines()
    assert lines[0] == "LIVE  global  profile a-long-name-of-a-desk  account 104821-104821 DIFFERS"
    assert lines[1].strip() == "Wed 25 Nov 2026  03:12:07 UTC"


@pytest.mark.parametrize(
    ("account", "pinned", "seen", "text"),
    [
        ("1", "not pinned", None, "account 1 NOT PINNED"),
        ("1", "differs", "2", "account 1 DIFFERS"),
        (None, "unknown", "104821", "account ? (last seen 104821)"),
        (None, "unknown", None, "account ?"),
    ],
)
def test_the_account_is_never_claimed(account: str | None, pinned: str, seen: str | None, text: str) -> None:
    scope = Scope("live", "global", "d", account, pinned, AT, seen)
    assert text in page(answer(scope=scope), WIDE, 0)


def test_the_second_line_says_how_the_desk_stands() -> None:
    standing = Standing("normal", "off", "quoter-1 alive 0.4 s", "open", "venue over HTTP", 0.3)
    assert page(answer(standing=standing), WIDE, 0).splitlines()[1] == (
        "mode NORMAL   latch off   bot quoter-1 alive 0.4 s   venue open   source: venue over HTTP, read 0.3 s ago"
    )


def test_what_the_second_line_says_is_in_the_json_too() -> None:
    standing = Standing("normal", "off", "none", "open", "venue over HTTP", 0.3)
    body = json.loads(shown(answer(standing=standing), Form.JSON))
    assert body["mode"] == "normal"
    assert (body["latch"], body["venue_state"], body["source"], body["age_s"]) == (
        "off",
        "open",
        "venue over HTTP",
        "0.3",
    )


COLUMNS = (Column("a", "PRODUCT"), Column("b", "SIZE", right=True), Column("c", "AGE", right=True))


def test_numbers_stand_under_each_other_and_lines_fold_under_their_row() -> None:
    rows = (
        Row({"a": "BTC", "b": "+0.8500", "c": Age(0.34)}, (Line("stop  NONE AT THE VENUE", mark=True),)),
        Row({"a": "ETH-LONG", "b": "-12.00", "c": Age(165)}, (Line("liq.  none"),)),
    )
    assert page(answer(Table(COLUMNS, rows), scope=None), WIDE, 0).splitlines() == [
        "PRODUCT      SIZE   AGE",
        "BTC       +0.8500  0.3s",
        "!   stop  NONE AT THE VENUE",
        "ETH-LONG   -12.00  165s",
        "    liq.  none",
    ]


def test_an_empty_table_says_so() -> None:
    assert page(answer(Table(COLUMNS, (), "no positions"), scope=None), WIDE, 0) == "no positions\n"


def test_two_blank_lines_never_follow_each_other() -> None:
    table = Table(COLUMNS, (), "none")
    text = page(answer(Line(""), table, Line(""), table, Line("end"), Line("")), WIDE, 0)
    assert text.endswith("UTC\n\nnone\n\nnone\n\nend\n")


def test_an_age_past_its_limit_is_stale_and_counts_on_while_watched() -> None:
    table = Table((Column("c", "AGE"),), (Row({"c": Age(1.0, limit_s=2.0)}),))
    assert "1.0s\n" in page(answer(table), WIDE, 0)
    assert "3.5s STALE\n" in page(answer(table), WIDE, 2.5)


def test_a_stale_row_is_greyed_and_keeps_its_number() -> None:
    table = Table((Column("n", "MARK"), Column("c", "AGE")), (Row({"n": "84,102.35", "c": Age(6.4, 2.0)}),))
    assert "\x1b[2m84,102.35  6.4s STALE\x1b[0m" in page(answer(table), Paper(110, True, True), 0)


@given(width=st.integers(80, 110), cells=st.lists(st.text("abc def", min_size=1, max_size=60), min_size=1, max_size=9))
def test_no_line_of_words_is_wider_than_the_page_and_none_is_lost(width: int, cells: list[str]) -> None:
    columns = tuple(Column(str(at), f"C{at}") for at in range(len(cells)))
    table = Table(columns, (Row({str(at): text for at, text in enumerate(cells)}),))
    text = page(answer(table, scope=None), Paper(width, False, False), 0)
    assert all(len(line) <= width for line in text.splitlines())
    letters = "".join(text.split())
    assert all("".join(cell.split()) in letters or len(cell) > layout.READABLE for cell in cells)


HOSTILE = "\x1b[2J\x07\x9b31m\r\u202e\u2066x\u200b\ufeff\n"


def test_nothing_from_outside_can_drive_the_terminal() -> None:
    scope = Scope("live", "global", f"p{HOSTILE}", f"1{HOSTILE}", "pinned", AT)
    table = Table((Column("a", f"T{HOSTILE}"),), (Row({"a": HOSTILE}, (Line(HOSTILE),)),), HOSTILE)
    standing = Standing(mode=HOSTILE, latch=HOSTILE, bot=HOSTILE)
    drawn = answer(Line(HOSTILE), table, Next((HOSTILE,)), scope=scope, standing=standing)
    text = page(drawn, WIDE, 0)
    assert all(letter == "\n" or letter.isprintable() for letter in text)
    assert "\\x1b[2J" in text


@pytest.mark.parametrize("form", [Form.JSON, Form.JSONL, Form.CSV])
def test_no_form_passes_control_characters_on(form: Form) -> None:
    drawn = answer(facts={"rows": [{"name": HOSTILE}]}, records="rows", scope=None)
    assert all(letter in "\r\n" or letter.isprintable() for letter in shown(drawn, form))


@given(st.text())
def test_cleaned_text_is_printable_in_every_terminal(text: str) -> None:
    assert not any(letter < " " or "\x7f" <= letter <= "\x9f" or letter in "\u202e\u2066" for letter in clean(text))


def test_json_holds_whose_money_it_is_about() -> None:
    assert json.loads(shown(answer(facts={"n": "1.50"}), Form.JSON)) == {
        "schema": "perpctl.test/1",
        "env": "live",
        "venue": "global",
        "profile": "desk-a",
        "account": {"id": "104821", "pinned": True, "pin": "pinned"},
        "at": "2026-11-25T03:12:07.118Z",
        "n": "1.50",
    }


def test_an_account_that_is_not_known_is_null_and_not_false() -> None:
    scope = Scope("live", "global", "d", None, "unknown", AT, "104821")
    account = json.loads(shown(answer(scope=scope), Form.JSON))["account"]
    assert account == {"id": None, "pinned": None, "pin": "unknown", "last_seen": "104821"}


def test_jsonl_gives_each_record_its_envelope() -> None:
    drawn = answer(facts={"rows": [{"n": 1}, {"n": 2}]}, records="rows")
    lines = [json.loads(line) for line in shown(drawn, Form.JSONL).splitlines()]
    assert [line["n"] for line in lines] == [1, 2]
    assert {line["env"] for line in lines} == {"live"}


def test_csv_is_what_a_csv_reader_reads() -> None:
    text = csv_text([{"a": 'x,"y"', "b": None}, {"a": "-1.50", "c": [1]}])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b", "c"], ['x,"y"', "", ""], ["-1.50", "", "[1]"]]
    assert text.count("\r\n") == 3


@pytest.mark.parametrize("formula", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1"])
def test_no_csv_cell_is_a_formula(formula: str) -> None:
    cell = next(csv.DictReader(io.StringIO(csv_text([{"a": formula}]), newline="")))["a"]
    assert not cell.startswith(("=", "+", "-", "@", "\t"))


@pytest.mark.parametrize("number", ["-12.0000", "+586.29", "-3", "1e5"])
def test_signed_numbers_stay_numbers_in_csv(number: str) -> None:
    assert csv_text([{"a": number}]).splitlines()[1] == number


def test_without_a_terminal_there_is_no_colour() -> None:
    assert "\x1b" not in shown(answer(Line("bad", Tone.BAD)), Form.TABLE)


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert Paper.of(Terminal()).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Paper.of(Terminal()).colour


@pytest.mark.parametrize(("columns", "width"), [("60", 80), ("95", 95), ("200", 110)])
def test_the_page_is_between_80_and_110_wide(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert Paper.of(io.StringIO()).width == width


def test_commands_to_type_next_stay_whole() -> None:
    commands = tuple(f"perpctl -p desk-a orders adopt USDC-198150503746-{n} --reason 'it was me'" for n in range(3))
    lines = page(answer(Next(commands), scope=None), NARROW, 0).splitlines()
    assert [line[7:] for line in lines] == list(commands)


def test_a_script_is_given_as_it_is() -> None:
    text = "a\n\n\n  b" + "c" * 200 + "\n"
    assert page(answer(Line("x"), Verbatim(text), scope=None), WIDE, 0) == "x\n" + text


def test_a_failure_says_what_happened_what_was_not_done_and_what_to_type() -> None:
    error = AccountMismatch("the venue answered for 2", not_done="nothing was sent", next_commands=("a b", "c d"))
    error.scope = DESK_A
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert render.failure(error, Form.JSON, AT) is ExitCode.UNKNOWN
    assert err.getvalue() == (
        "perpctl: the venue answered for 2\nNot done: nothing was sent.\nNext:  a b\n       c d\n"
    )
    body = json.loads(out.getvalue())
    assert body["error"] == {
        "code": 3,
        "kind": "unknown",
        "message": "the venue answered for 2",
        "not_done": "nothing was sent",
        "next": ["a b", "c d"],
    }
    assert (body["env"], body["profile"]) == ("live", "desk-a")


def test_a_failure_in_table_form_leaves_stdout_empty() -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        render.failure(UsageError(f"bad {HOSTILE}"), Form.TABLE, AT)
    assert out.getvalue() == ""
    assert "\x1b" not in err.getvalue()


@given(st.lists(st.sampled_from(["", "text"]), min_size=1, max_size=80).map("\n".join), st.integers(5, 60))
def test_a_page_in_place_never_pushes_its_first_line_out_of_the_window(text: str, rows: int) -> None:
    shown = fitted(text + "\n", rows).splitlines()
    assert len(shown) < rows
    assert shown[0] == text.splitlines()[0] if text.strip() else True


def test_a_cut_page_keeps_its_last_paragraph_and_counts_what_it_hides() -> None:
    page_of_ten = "".join(f"{n}\n" for n in range(9)) + "\nkeys\n"
    assert fitted(page_of_ten, 6) == "0\n1\n2\n... 7 lines more in a taller window\nkeys\n"
