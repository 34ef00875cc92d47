"""This file makes and recognises the identities that our orders carry: UUIDs of version 8.

Standard library only: the emergency program imports it. 122 free bits: 16 epoch, 64 intent, 42 of an HMAC-SHA256 over
both, so that an order of ours is known from any other with nothing but the key. Epoch 0xFFFF is the kill mark.
"""

from __future__ import annotations

import hashlib
import hmac
import re

KILL_EPOCH = 0xFFFF
_MAC_BITS = 42
_SHAPE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def make(key: bytes, epoch: int, intent: int) -> str:
    """The identity of an intent, as UUID text. Raises ValueError when a number does not fit its bits."""
    if not 0 <= epoch <= 0xFFFF or not 0 <= intent < 1 << 64:
        raise ValueError(f"epoch {epoch} or intent {intent} is out of range")
    payload = epoch << 64 | intent
    bits = payload << _MAC_BITS | _mac(key, payload)
    high, middle, low = bits >> 74, bits >> 62 & 0xFFF, bits & (1 << 62) - 1
    text = f"{high:012x}8{middle:03x}{low | 0b10 << 62:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_ours(key: bytes, text: str | None) -> bool:
    """Whether the identity was made with this key."""
    bits = _bits(text)
    if bits is None:
        return False
    payload, mac = bits >> _MAC_BITS, bits & (1 << _MAC_BITS) - 1
    return hmac.compare_digest(mac.to_bytes(6, "big"), _mac(key, payload).to_bytes(6, "big"))


def is_kill(text: str | None) -> bool:
    """Whether it carries the kill mark; needs no key."""
    return epoch_of(text) == KILL_EPOCH


def epoch_of(text: str | None) -> int | None:
    """The epoch it claims; None when it is not an identity of our shape. Proves nothing without `is_ours`."""
    bits = _bits(text)
    return None if bits is None else bits >> 106


def intent_of(text: str | None) -> int | None:
    """The intent it claims; None when it is not an identity of our shape."""
    bits = _bits(text)
    return None if bits is None else bits >> _MAC_BITS & (1 << 64) - 1


def _bits(text: str | None) -> int | None:
    if text is None or not _SHAPE.fullmatch(text):
        return None
    number = int(text.replace("-", ""), 16)
    return number >> 80 << 74 | (number >> 64 & 0xFFF) << 62 | number & (1 << 62) - 1


def _mac(key: bytes, payload: int) -> int:
    digest = hmac.digest(key, payload.to_bytes(10, "big"), hashlib.sha256)
    return int.from_bytes(digest[:6], "big") >> 6
