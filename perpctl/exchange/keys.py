"""This file reads CDP key files: strictly, once, and without ever showing what is in them."""

from __future__ import annotations

import base64
import binascii
import errno
import json
import os
import shlex
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from perpctl.errors import CredentialError

MAX_KEY_FILE = 64 * 1024  # bytes; a real one has about 1 kB
PEM_BEGINS = "-----BEGIN"
NEW_KEY = "make a key at portal.cdp.coinbase.com and store its file with mode 0600"
PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class CdpKey:
    """A parsed CDP key. The private half is kept as a key object and left out of every representation."""

    name: str
    private: PrivateKey = field(repr=False)
    created_at: datetime | None = None  # as its file says; None: it does not

    @property
    def algorithm(self) -> Literal["ES256", "EdDSA"]:
        return "ES256" if isinstance(self.private, EllipticCurvePrivateKey) else "EdDSA"

    @property
    def id(self) -> str:
        """The key as Coinbase's key page lists it: without the organization that its name begins with."""
        return self.name.rpartition("/")[2]

    @property
    def short_id(self) -> str:
        """The key as shown to people: `..c41e`."""
        return f"..{self.name[-4:]}"

    def __repr__(self) -> str:
        return f"CdpKey({self.algorithm} {self.short_id})"


def read_key(path: Path, named: str | None = None) -> CdpKey:
    """The key in a CDP key file: JSON with ECDSA P-256 as PEM or Ed25519 as base64 or PEM; or the bare PEM of `named`.

    Raises CredentialError: missing, not a regular file, a link, readable by others, not ours, not a CDP key, another
    key than `named`. The content is in no message.
    """
    text = _read_private_file(path)
    if text.lstrip().startswith(PEM_BEGINS):
        return CdpKey(_name_of_pem(path, named), _parse_private(path, text))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise _unusable(path, "it is not JSON with a name and a privateKey", NEW_KEY) from None
    if not isinstance(content, dict):
        raise _unusable(path, "it is JSON but not an object with a name and a privateKey", NEW_KEY)
    name, secret = content.get("name") or content.get("id"), content.get("privateKey")
    if not isinstance(name, str) or not name.strip():
        raise _unusable(path, "it has no `name` (ECDSA) or `id` (Ed25519)", NEW_KEY)
    if not isinstance(secret, str) or not secret.strip():
        raise _unusable(path, "it has no `privateKey`", NEW_KEY)
    if named is not None and name.strip() != named:
        cause = f"it holds key ..{name.strip()[-4:]}, and the settings name key ..{named[-4:]}"
        raise _unusable(path, cause, "unset COINBASE_CDP_API_KEY and key_name, or name the file of that key")
    return CdpKey(name.strip(), _parse_private(path, secret), _created_at(content.get("createTime")))


def _created_at(text: object) -> datetime | None:
    """The `createTime` of a key file; files of Ed25519 keys have none, and no API tells it."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None


def _name_of_pem(path: Path, named: str | None) -> str:
    if named is None or not named.strip():
        raise _unusable(
            path, "it is a bare PEM, which does not say whose key it is", "set COINBASE_CDP_API_KEY to its name"
        )
    return named.strip()


def _read_private_file(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as why:
        if why.errno == errno.ELOOP:
            raise _unusable(path, "it is a symbolic link", "name the file itself in the profile") from None
        raise _unusable(path, why.strerror or "it cannot be opened", NEW_KEY) from None
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise _unusable(path, "it is not a regular file", "name a regular file in the profile")
        if state.st_uid != os.geteuid():
            owner = f"it belongs to user {state.st_uid}, we are user {os.geteuid()}"
            raise _unusable(path, owner, "use a file of your own")
        if state.st_mode & 0o077:
            cause = f"its mode is {stat.S_IMODE(state.st_mode):04o}, so others than its owner may use it"
            raise _unusable(path, cause, f"chmod 600 {shlex.quote(str(path))}")
        if state.st_size > MAX_KEY_FILE:
            raise _unusable(path, f"it has {state.st_size} bytes, far more than a key file", NEW_KEY)
        return os.read(handle, MAX_KEY_FILE).decode()
    except UnicodeDecodeError:
        raise _unusable(path, "it is not text", NEW_KEY) from None
    finally:
        os.close(handle)


def _parse_private(path: Path, secret: str) -> PrivateKey:
    text = secret.replace("\\r", "").replace("\\n", "\n").replace("\r", "").strip()
    try:
        key = _from_pem(text) if text.startswith(PEM_BEGINS) else _from_base64(text)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        raise _unusable(path, "its privateKey is neither a PEM nor base64 of an Ed25519 key", NEW_KEY) from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise _unusable(path, "its privateKey is of a kind that Coinbase does not take (P-256 or Ed25519)", NEW_KEY)


def _from_pem(text: str) -> object:
    return load_pem_private_key((text + "\n").encode(), password=None)


def _from_base64(text: str) -> Ed25519PrivateKey:
    raw = base64.b64decode("".join(text.split()), validate=True)
    if len(raw) not in (32, 64):
        raise ValueError("an Ed25519 key has 32 bytes, or 64 with its public half")
    key = Ed25519PrivateKey.from_private_bytes(raw[:32])
    if len(raw) == 64 and key.public_key().public_bytes_raw() != raw[32:]:
        raise ValueError("the public half does not belong to the private half")
    return key


def _unusable(path: Path, cause: str, fix: str) -> CredentialError:
    commands = (fix,) if fix.startswith("chmod ") else ()
    return CredentialError(
        f"key file {path} cannot be used: {cause}; {fix}", not_done="nothing was sent", next_commands=commands
    )
