"""Identities are UUIDs of version 8 that tell ours from others', and a kill's from everything."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpctl.model.identity import KILL_EPOCH, epoch_of, intent_of, is_kill, is_ours, make

KEY, OTHER = bytes(range(32)), bytes(32)
EPOCHS, INTENTS = st.integers(0, 0xFFFF), st.integers(0, (1 << 64) - 1)


@given(epoch=EPOCHS, intent=INTENTS)
def test_an_identity_carries_its_epoch_and_intent_and_is_ours(epoch: int, intent: int) -> None:
    text = make(KEY, epoch, intent)
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 8, uuid.RFC_4122)
    assert (epoch_of(text), intent_of(text)) == (epoch, intent)
    assert is_ours(KEY, text)
    assert not is_ours(OTHER, text)
    assert is_kill(text) == (epoch == KILL_EPOCH)


@given(intent=INTENTS, bit=st.integers(0, 127))
def test_a_changed_bit_makes_it_a_strangers(intent: int, bit: int) -> None:
    changed = str(uuid.UUID(int=uuid.UUID(make(KEY, 7, intent)).int ^ 1 << bit))
    assert not is_ours(KEY, changed)


@pytest.mark.parametrize(
    "text", [None, "", "quoter-1", str(uuid.UUID(int=0)), "2f1ad3c6-7c1e-4b0e-9f31-0d6a5c3b9e42", "z" * 36]
)
def test_anything_else_is_nobodys(text: str | None) -> None:
    assert not is_ours(KEY, text)
    assert not is_kill(text)
    assert epoch_of(text) is None


def test_numbers_that_do_not_fit_are_refused() -> None:
    for epoch, intent in ((-1, 0), (0x10000, 0), (0, -1), (0, 1 << 64)):
        with pytest.raises(ValueError, match="out of range"):
            make(KEY, epoch, intent)


def test_the_layout_is_fixed_for_ever() -> None:
    assert make(KEY, 1, 2) == "00010000-0000-8000-8000-09007291b6fb"
