"""Key files: what is accepted, what is refused and why, and that nothing of them shows."""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from perpctl.errors import CredentialError
from perpctl.exchange.keys import read_key

NAME = "organizations/0a1b/apiKeys/7f3e-c41e"
P256 = ec.generate_private_key(ec.SECP256R1())
ED = Ed25519PrivateKey.generate()
ED_RAW = ED.private_bytes_raw() + ED.public_key().public_bytes_raw()
SEC1 = P256.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def pem(key: object) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()  # type: ignore[attr-defined, no-any-return]


def write(folder: Path, content: object, mode: int = 0o600) -> Path:
    path = folder / "cdp.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "secret",
    [
        SEC1,
        pem(P256),
        SEC1.replace("\n", "\r\n"),
        SEC1.replace("\n", "\\n"),
        SEC1.replace("\n", "\\r\\n"),
        f"  {SEC1}\n\n",
    ],
    ids=["sec1", "pkcs8", "crlf", "escaped", "escaped crlf", "padded"],
)
def test_a_p256_key_is_read_however_its_lines_end(tmp_path: Path, secret: str) -> None:
    key = read_key(write(tmp_path, {"name": NAME, "privateKey": secret}))
    assert (key.name, key.algorithm, key.short_id) == (NAME, "ES256", "..c41e")


@pytest.mark.parametrize("secret", [SEC1, pem(P256), f"\n{SEC1}"], ids=["sec1", "pkcs8", "padded"])
def test_a_bare_pem_is_the_key_that_the_settings_name(tmp_path: Path, secret: str) -> None:
    path = write(tmp_path, secret)
    key = read_key(path, NAME)
    assert (key.name, key.algorithm) == (NAME, "ES256")
    assert isinstance(key.private, ec.EllipticCurvePrivateKey)
    assert key.private.private_numbers() == P256.private_numbers()
    with pytest.raises(CredentialError, match=r"bare PEM.*COINBASE_CDP_API_KEY"):
        read_key(path)


def test_a_bare_pem_of_an_ed25519_key_is_read_too(tmp_path: Path) -> None:
    assert read_key(write(tmp_path, pem(ED)), NAME).algorithm == "EdDSA"


def test_a_file_of_another_key_than_the_one_named_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"name": NAME, "privateKey": SEC1})
    assert read_key(path, NAME).name == NAME
    with pytest.raises(CredentialError, match=r"holds key \.\.c41e.*name key \.\.beef"):
        read_key(path, "organizations/0a1b/apiKeys/dead-beef")


@pytest.mark.parametrize(
    "secret",
    [base64.b64encode(ED_RAW).decode(), base64.b64encode(ED_RAW[:32]).decode(), pem(ED)],
    ids=["seed and public", "seed", "pem"],
)
def test_an_ed25519_key_is_read_from_its_seed(tmp_path: Path, secret: str) -> None:
    key = read_key(write(tmp_path, {"id": "7f3e-c41e", "privateKey": secret}))
    assert key.algorithm == "EdDSA"
    assert isinstance(key.private, Ed25519PrivateKey)
    assert key.private.private_bytes_raw() == ED_RAW[:32]


BROKEN: dict[str, tuple[object, str]] = {
    "no json": ("hello", "not JSON"),
    "deep json": ("[" * 60_000, "not JSON"),
    "list": ([], "not an object"),
    "no name": ({"privateKey": SEC1}, "`name`"),
    "no key": ({"name": NAME}, "`privateKey`"),
    "not base64": ({"name": NAME, "privateKey": "!!!"}, "neither a PEM nor base64"),
    "wrong length": ({"name": NAME, "privateKey": base64.b64encode(b"x" * 48).decode()}, "neither a PEM"),
    "two halves of two keys": ({"name": NAME, "privateKey": base64.b64encode(ED_RAW[:32] + b"x" * 32).decode()}, "PEM"),
    "cut pem": ({"name": NAME, "privateKey": SEC1[:80]}, "neither a PEM"),
    "other curve": ({"name": NAME, "privateKey": pem(ec.generate_private_key(ec.SECP384R1()))}, "P-256 or Ed25519"),
    "rsa": ({"name": NAME, "privateKey": pem(rsa.generate_private_key(65537, 2048))}, "P-256 or Ed25519"),
    "too long": ("x" * 70_000, "70000 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_no_key_is_refused_with_its_cause_and_never_its_content(tmp_path: Path, case: str) -> None:
    content, cause = BROKEN[case]
    with pytest.raises(CredentialError, match=cause) as failure:
        read_key(write(tmp_path, content))
    assert failure.value.exit_code == 4
    assert failure.value.__cause__ is None
    if isinstance(content, dict) and "privateKey" in content:
        assert content["privateKey"][:20] not in str(failure.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_a_file_open_to_others_is_refused_and_the_fix_is_a_command(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, {"name": NAME, "privateKey": SEC1}, mode)
    with pytest.raises(CredentialError, match=f"{mode:04o}") as failure:
        read_key(path)
    assert failure.value.next_commands == (f"chmod 600 {path}",)


def test_links_folders_pipes_and_absent_files_are_refused(tmp_path: Path) -> None:
    real = write(tmp_path, {"name": NAME, "privateKey": SEC1})
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(real)
    os.mkfifo(pipe, 0o600)
    cases = {link: "symbolic link", tmp_path: "regular file", pipe: "regular file", tmp_path / "no": "No such file"}
    for path, cause in cases.items():
        with pytest.raises(CredentialError, match=cause):
            read_key(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"name": NAME, "privateKey": SEC1})
    os.chown(path, 12345, -1)
    with pytest.raises(CredentialError, match="belongs to user 12345"):
        read_key(path)


def test_no_representation_shows_the_key(tmp_path: Path) -> None:
    key = read_key(write(tmp_path, {"name": NAME, "privateKey": SEC1}))
    for shown in (repr(key), str(key), f"{key}", repr([key])):
        assert shown.strip("[]") == "CdpKey(ES256 ..c41e)"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-09-20T10:11:12.123456789Z", datetime(2026, 9, 20, 10, 11, 12, 123456, tzinfo=UTC)),
        ("2026-09-20T12:00:00+02:00", datetime(2026, 9, 20, 10, tzinfo=UTC)),
        ("2026-09-20T12:00:00", None),  # by whose clock?
        ("yesterday", None),
        (None, None),
        (17, None),
    ],
)
def test_a_key_is_as_old_as_its_file_says(tmp_path: Path, text: object, at: datetime | None) -> None:
    content = {"name": NAME, "privateKey": SEC1, "createTime": text}
    assert read_key(write(tmp_path, content)).created_at == at
