"""A CDP key signs the same with the package and with the openssl program, and its content shows nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from perpctl.emergency.venue.signing import make_token, read_key
from perpctl.errors import CredentialError
from perpctl.paper.keys import KeyRing, RegisteredKey

Algorithm = Literal["es256", "ed25519"]


def new_key(folder: Path, algorithm: Algorithm) -> tuple[Path, RegisteredKey]:
    path = folder / f"{algorithm}.json"
    ring = KeyRing(folder)
    return path, ring.create(algorithm, path, ("view", "trade"), 1, datetime(2026, 11, 23, tzinfo=UTC))


def check(token: str, key: RegisteredKey, now: int) -> None:
    options = {"verify_exp": False, "verify_nbf": False}
    claims = jwt.decode(token, key.public_key, algorithms=[key.jwt_algorithm], options=options)  # type: ignore[arg-type]
    assert claims == {"sub": key.name, "iss": "cdp", "nbf": now, "exp": now + 120}
    assert jwt.get_unverified_header(token)["kid"] == key.name


@pytest.mark.parametrize("algorithm", ["es256", "ed25519"])
def test_the_package_signs_what_the_exchange_accepts(tmp_path: Path, algorithm: Algorithm) -> None:
    path, key = new_key(tmp_path, algorithm)
    for now in range(1_790_000_000, 1_790_000_020):
        check(make_token(read_key(path), now), key, now)


@pytest.mark.parametrize("format_", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8], ids=["sec1", "pkcs8"])
def test_a_bare_pem_signs_as_the_key_that_the_settings_name(tmp_path: Path, format_: PrivateFormat) -> None:
    json_path, key = new_key(tmp_path, "es256")
    private = load_pem_private_key(json.loads(json_path.read_text())["privateKey"].encode(), password=None)
    path = tmp_path / "bare.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, format_, NoEncryption()))
    check(make_token(read_key(path, key.name), 1_790_000_000), key, 1_790_000_000)
    with pytest.raises(CredentialError, match="not a CDP key file"):
        read_key(path)


@pytest.mark.parametrize("algorithm", ["es256", "ed25519"])
def test_the_openssl_program_signs_where_the_package_is_missing(tmp_path: Path, algorithm: Algorithm) -> None:
    path, key = new_key(tmp_path, algorithm)
    hidden = tmp_path / "hidden" / "cryptography"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not here')")
    program = "import sys; from pathlib import Path; from perpctl.emergency.venue.signing import *\n"
    program += "for now in range(4): print(make_token(read_key(Path(sys.argv[1])), now))"
    environment = {**os.environ, "PYTHONPATH": str(hidden.parent)}
    done = subprocess.run([sys.executable, "-c", program, path], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for now, token in enumerate(done.stdout.split()):
        check(token, key, now)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"name": "k"}', '{"name": "k", "privateKey": "c2VjcmV0"}', '{"name": "k", "privateKey": 7}'],
)
def test_what_is_no_key_file_is_said_without_its_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(content)
    with pytest.raises(CredentialError) as caught:
        read_key(path)
    assert "c2VjcmV0" not in str(caught.value)
    with pytest.raises(CredentialError):
        read_key(tmp_path / "absent.json")


def test_a_key_that_others_can_read_is_used_and_said(tmp_path: Path) -> None:
    path, _ = new_key(tmp_path, "es256")
    assert not read_key(path).too_open
    path.chmod(0o644)
    assert read_key(path).too_open


def test_no_representation_shows_the_secret(tmp_path: Path) -> None:
    path, _ = new_key(tmp_path, "es256")
    secret = json.loads(path.read_text())["privateKey"].splitlines()[1]
    assert secret not in repr(read_key(path))
