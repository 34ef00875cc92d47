"""This file knows what keys and tokens look like, so that none is written down, whoever sent it."""

from __future__ import annotations

import re

HIDDEN = "[hidden]"
SECRETS = re.compile(
    r"PRIVATE KEY-"  # PEM of any sort
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"  # JWT
    r"|MHcCAQEE|MHQCAQEE|MIGHAgEA|MC4CAQAwBQYDK2Vw"  # DER of EC and Ed25519 keys in base64
    r"|[A-Za-z0-9+/]{86}=="  # the 64 bytes of an Ed25519 secret, as key files hold it
    r'|"(?:private_?key|api_?secret|client_?secret|access_?token|refresh_?token|password|passphrase)":"[^"]'
    r"|\bBearer [\w.~+/-]{16,}",
    re.IGNORECASE,
)
# what any of these needs, in lower case: looking for plain words first makes the usual record twenty times cheaper
SIGNS = ("private", "secret", "passw", "passph", "bearer", "access", "refresh", "eyj", "caq", "mighagea", "==")


def looks_secret(text: str) -> bool:
    """Whether a key or a token may be in it."""
    lowered = text.lower()
    return any(sign in lowered for sign in SIGNS) and SECRETS.search(text) is not None


def without_secrets(text: str) -> str:
    """The text, all of it hidden when it may hold a key or a token: where one begins is known, not where it ends."""
    return HIDDEN if looks_secret(text) else text
