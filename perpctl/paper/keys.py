"""This file makes CDP key files for the paper exchange, and remembers their public halves."""

from __future__ import annotations

import base64
import json
import os
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from perpctl.errors import StateDamaged, UsageError

Algorithm = Literal["es256", "ed25519"]
PERMISSIONS = ("view", "trade", "transfer")
MAIN_ACCOUNT = 1
LEEWAY_S = 5.0  # how far the signer's clock may run ahead
ISSUERS = ("cdp", "coinbase-cloud")


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """What the exchange knows of a key: never the private half."""

    name: str
    algorithm: Algorithm
    public_key: EllipticCurvePublicKey | Ed25519PublicKey
    scopes: frozenset[str]
    account: int

    @property
    def jwt_algorithm(self) -> str:
        return "ES256" if self.algorithm == "es256" else "EdDSA"

    @property
    def portfolio(self) -> str:
        """The UUID of the portfolio it is bound to for life: an account's name on the Advanced Trade face."""
        return portfolio_of(self.account)


class Keys(Protocol):
    """Where registered keys are looked up."""

    def find(self, name: str) -> RegisteredKey | None:
        """The key of that name, or None."""


class BadToken(Exception):
    """A JWT that is not in order."""


def verify(token: str, keys: Keys, wall_s: float) -> tuple[RegisteredKey, dict[str, Any]]:
    """(the key that signed this JWT, its claims). Raises BadToken.

    Checked: algorithm, signature, kid, sub, iss, nbf, exp. What `uri` and `aud` are worth the face decides.
    """
    try:
        key = keys.find(str(jwt.get_unverified_header(token).get("kid", "")))
        if key is None:
            raise BadToken("unknown key")
        claims: dict[str, Any] = jwt.decode(
            token,
            key.public_key,
            algorithms=[key.jwt_algorithm],
            options={
                "require": ["sub", "iss", "nbf", "exp"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
            },
        )
    except jwt.PyJWTError as why:
        raise BadToken(str(why)) from why
    # Checked here, not by the library, because wall time is handed in: tests and simulations own it.
    not_before, expires = claims["nbf"], claims["exp"]
    timely = (
        isinstance(not_before, int | float)
        and isinstance(expires, int | float)
        and not_before - LEEWAY_S <= wall_s < expires + LEEWAY_S
    )
    if not timely or claims["sub"] != key.name or claims["iss"] not in ISSUERS:
        raise BadToken("not valid now, or of somebody else")
    return key, claims


class MemoryKeys:
    """Registered keys of an exchange that lives in memory."""

    def __init__(self) -> None:
        self._known: dict[str, RegisteredKey] = {}

    def find(self, name: str) -> RegisteredKey | None:
        """The key of that name, or None."""
        return self._known.get(name)

    def add(
        self, algorithm: Algorithm, permissions: tuple[str, ...], account: int, created_at: datetime
    ) -> dict[str, object]:
        """Register a new key; returns what its key file would hold."""
        named = uuid.uuid5(uuid.NAMESPACE_URL, f"perpctl key {len(self._known)}")  # the same in every run of a seed
        content, key = make_key(algorithm, permissions, account, created_at, named)
        self._known[key.name] = key
        return content


class KeyRing:
    """The registered keys of one state directory, one file each under `keys/`, so that a key can be added any time."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "keys"
        self._known: dict[str, RegisteredKey] = {}

    def find(self, name: str) -> RegisteredKey | None:
        """The key of that name, or None. Raises StateDamaged when a registration cannot be read."""
        if name not in self._known:
            self._known = {key.name: key for key in self.list()}
        return self._known.get(name)

    def list(self) -> list[RegisteredKey]:
        """Every registered key."""
        return [_read(path) for path in sorted(self._folder.glob("*.json"))]

    def create(
        self, algorithm: Algorithm, out: Path, permissions: tuple[str, ...], account: int, created_at: datetime
    ) -> RegisteredKey:
        """Make a key, write its CDP key file to `out` (0600, never over another file) and register it here.

        Raises UsageError when `out` exists or cannot be written, or a permission is unknown.
        """
        content, key = make_key(algorithm, permissions, account, created_at)
        _write_new(out, json.dumps(content, indent=2))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(self._folder / f"{uuid.uuid4()}.json", json.dumps(_registration(key), indent=2))
        return key


@cache
def portfolio_of(account: int) -> str:
    """The portfolio UUID of an account."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"perpctl paper portfolio {account}"))


def make_key(
    algorithm: Algorithm,
    permissions: tuple[str, ...],
    account: int,
    created_at: datetime,
    named: uuid.UUID | None = None,
) -> tuple[dict[str, object], RegisteredKey]:
    """(what the CDP key file holds, what the exchange keeps). Raises UsageError for an unknown permission."""
    if not permissions or set(permissions) - set(PERMISSIONS):
        raise UsageError(f"permissions are a list of {', '.join(PERMISSIONS)}, not {','.join(permissions)!r}")
    key_id = str(named or uuid.uuid4())
    private = generate_ec(SECP256R1()) if algorithm == "es256" else Ed25519PrivateKey.generate()
    content = _key_file(key_id, private, permissions, created_at)
    name = str(content.get("name", key_id))
    return content, RegisteredKey(name, algorithm, private.public_key(), frozenset(permissions), account)


def _key_file(
    key_id: str,
    private: EllipticCurvePrivateKey | Ed25519PrivateKey,
    permissions: tuple[str, ...],
    created_at: datetime,
) -> dict[str, object]:
    """The file that the CDP portal hands out, in its two shapes."""
    if isinstance(private, Ed25519PrivateKey):
        seed_and_public = private.private_bytes_raw() + private.public_key().public_bytes_raw()
        return {"id": key_id, "privateKey": base64.b64encode(seed_and_public).decode()}
    owner = str(uuid.uuid5(uuid.NAMESPACE_URL, "perpctl paper exchange"))
    return {
        "name": f"organizations/{owner}/apiKeys/{key_id}",
        "principal": owner,
        "principalType": "USER",
        "publicKey": _pem(private.public_key()),
        "privateKey": private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
        "createTime": created_at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
        "projectId": owner,
        "nickname": "paper",
        "scopes": [f"rat#{permission}" for permission in permissions],
        "allowedIps": [],
        "keyType": "TRADING_KEY",
        "enabled": True,
    }


def _registration(key: RegisteredKey) -> dict[str, object]:
    return {
        "name": key.name,
        "algorithm": key.algorithm,
        "public_key": _pem(key.public_key),
        "scopes": sorted(key.scopes),
        "account": key.account,
    }


def _read(path: Path) -> RegisteredKey:
    try:
        row = json.loads(path.read_text())
        public = load_pem_public_key(row["public_key"].encode())
        if not isinstance(public, EllipticCurvePublicKey | Ed25519PublicKey):
            raise ValueError("not a P-256 or Ed25519 key")
        return RegisteredKey(row["name"], row["algorithm"], public, frozenset(row["scopes"]), int(row["account"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as why:
        raise StateDamaged(f"{path}: not a key registration ({why})") from why


def _pem(key: EllipticCurvePublicKey | Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _write_new(path: Path, text: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as why:
        raise UsageError(f"{path} exists already; a key is never written over another file") from why
    except OSError as why:
        raise UsageError(f"{path} cannot be written: {why.strerror}") from why
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
