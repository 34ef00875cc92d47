"""The signed head of the chain: what it proves, and what it does not let pass."""

from __future__ import annotations

from pathlib import Path

from perpctl.store.facts.heads import false_heads, sign_head
from perpctl.store.records import Kind
from tests.store.stock import opened

KEY = bytes(range(32))


def test_a_head_signs_the_line_before_it(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        noted = journal.append(Kind.OPERATOR_NOTED, {"text": "a"})
        head = sign_head(journal, KEY, ("log",))
        assert (head.seq, head.hash) == (noted.seq, noted.hash)
        (signed,) = journal.records(kinds=(Kind.HEAD_SIGNED,))
        assert signed.body["sent_to"] == ["log"]
        assert list(false_heads(journal, KEY)) == []


def test_another_key_and_another_line_are_found(tmp_path: Path) -> None:
    """Whoever rewrites the chain from a line on, hashes and all, cannot sign its heads."""
    with opened(tmp_path) as journal:
        sign_head(journal, KEY, ())
        (true,) = journal.records(kinds=(Kind.HEAD_SIGNED,))
        journal.append(Kind.OPERATOR_NOTED, {"text": "a"})
        copied = journal.append(Kind.HEAD_SIGNED, true.body)
        moved = journal.append(Kind.HEAD_SIGNED, {**true.body, "seq": copied.seq, "hash": copied.hash.hex()})
        assert [record.seq for record in false_heads(journal, KEY)] == [copied.seq, moved.seq]
        assert true.seq in [record.seq for record in false_heads(journal, bytes(32))]
