"""This file signs the head of the chain, so that lines cut off its end show: a whole chain may still be a short one.

The signature is HMAC-SHA256 with the identity key, which lies beside the configuration and not in the state. Whoever
has both can forge; what leaves the machine in time, as the log does, cannot be taken back.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from perpctl.store.journal import Head, Journal, JournalReader
from perpctl.store.records import Kind, Record

ALGORITHM = "HMAC-SHA256 with identity.key"


def sign_head(journal: Journal, key: bytes, sent_to: tuple[str, ...]) -> Head:
    """Write down where the chain ends, signed; the head that was signed."""
    with journal.batch():
        head = journal.head()
        body = {
            "seq": head.seq,
            "hash": head.hash.hex(),
            "signature": _signature(key, head),
            "algorithm": ALGORITHM,
            "sent_to": list(sent_to),
        }
        journal.append(Kind.HEAD_SIGNED, body)
    return head


def false_heads(journal: JournalReader, key: bytes) -> Iterator[Record]:
    """Every line that says of itself that it is a signed head and does not sign the line before it."""
    for record in journal.records(kinds=(Kind.HEAD_SIGNED,)):
        head = Head(record.seq - 1, record.prev_hash)
        told = (record.body["seq"], record.body["hash"])
        if told != (head.seq, head.hash.hex()) or not _is_signed(record, key, head):
            yield record


def _is_signed(record: Record, key: bytes, head: Head) -> bool:
    return hmac.compare_digest(str(record.body["signature"]), _signature(key, head))


def _signature(key: bytes, head: Head) -> str:
    text = f"perpctl.head/1 {head.seq} {head.hash.hex()}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
