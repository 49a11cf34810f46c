"""Signed results: a chain made here signs them, and a changed pixel shows."""

import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image
from typer.testing import CliRunner

import toy
from i2i.cli import app
from i2i.errors import UserError
from i2i.protocols import Domain
from i2i.translation.model_folder import Origin, save_model
from i2i_provenance.content_credentials import Credentials, Signing, algorithm_of, read
from i2i_provenance.inspection import inspect, lines, to_json

DOMAINS = {"a": Domain("day", "image", 3), "b": Domain("night", "image", 3)}


def certificate(subject: str, public: Any, issuer_key: Any, authority: bool) -> x509.Certificate:
    def called(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Us"), x509.NameAttribute(NameOID.COMMON_NAME, name)])

    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    usage = x509.KeyUsage(True, False, False, False, False, authority, authority, False, False)
    made = x509.CertificateBuilder(called("root"), called(subject), public, x509.random_serial_number(), now - day, now + day)
    made = made.add_extension(x509.BasicConstraints(authority, None), True).add_extension(usage, True)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    if not authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        made = made.add_extension(purpose, False).add_extension(identifier, False)
    return made.sign(issuer_key, hashes.SHA256())


def pem(key: Any) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return signers(tmp_path_factory.mktemp("chain"))


def signers(folder: Path) -> tuple[Path, Path]:
    """A signer's certificate with its root's, and the key."""
    root, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    certificates = [
        certificate("signer", signer.public_key(), root, authority=False),
        certificate("root", root.public_key(), root, authority=True),
    ]
    (folder / "chain.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
    (folder / "key.pem").write_bytes(pem(signer))
    return folder / "chain.pem", folder / "key.pem"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    registry = toy.registry()
    monkeypatch.setattr("i2i.translation.loading.default_registry", lambda: registry)
    module = registry.get("generator", "toy").factory(domains=DOMAINS, directions=(("a", "b"),))
    save_model("model", module, {"": Origin("toy", "toys", "1", {})}, domains=DOMAINS, directions=(("a", "b"),))
    torch.manual_seed(0)
    Image.effect_noise((32, 24), 60).convert("RGB").save("x.png")
    return Path("model")


def translate(*options: str) -> Any:
    return CliRunner().invoke(app, ["translate", "model", "x.png", "--out", "out", *options])


def test_results_are_signed_and_a_change_shows(model: Path, chain: tuple[Path, Path]) -> None:
    outcome = translate("--grid", "--c2pa", *map(str, chain))
    assert outcome.exit_code == 0, outcome.output
    signed = Credentials("signer", "valid", "trainedAlgorithmicMedia")
    assert read(Path("out/x.png")) == read(Path("out/grid.png")) == signed
    stated = inspect("out/x.png")
    assert stated is not None
    assert (stated.model, stated.signed, stated.trained) == ("toys:toy 1", signed, True)
    assert to_json(Path("x"), stated)["signed"]["state"] == "valid"
    assert "signed by: signer, the signer is on no trust list known here; the picture has not" in lines(Path("x"), stated)[4]
    data = bytearray(Path("out/x.png").read_bytes())
    data[data.rindex(b"IDAT") + 20] ^= 1
    Path("changed.png").write_bytes(data)
    changed = read(Path("changed.png"))
    assert changed is not None
    assert changed.state == "invalid"


def test_what_is_marked_is_signed_afterwards(model: Path, chain: tuple[Path, Path]) -> None:
    Image.effect_noise((160, 130), 60).convert("RGB").save("x.png")
    outcome = translate("--watermark", "--c2pa", *map(str, chain))
    assert outcome.exit_code == 0, outcome.output
    stated = inspect("out/x.png")
    assert stated is not None
    assert (stated.model, stated.watermark) == ("toys:toy 1", True)
    assert stated.signed == Credentials("signer", "valid", "trainedAlgorithmicMedia")


def test_an_unsigned_picture_and_the_statement_of_credentials_alone(model: Path, chain: tuple[Path, Path]) -> None:
    assert read(Path("x.png")) is None
    assert translate("--no-metadata", "--c2pa", *map(str, chain)).exit_code == 0
    stated = inspect("out/x.png")
    assert stated is not None
    assert (stated.model, stated.trained) == ("", True)


def test_what_cannot_sign_is_refused_before_anything_is_written(model: Path, chain: tuple[Path, Path]) -> None:
    Path("other.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    for files in ((chain[0], "other.pem"), (chain[1], chain[0]), ("gone.pem", chain[1])):
        outcome = translate("--c2pa", *map(str, files))
        assert isinstance(outcome.exception, UserError)
        assert "cannot sign" in str(outcome.exception)
    assert not Path("out").exists()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, chain: tuple[Path, Path]) -> None:
    monkeypatch.setattr("i2i_provenance.content_credentials.find_spec", lambda _name: None)
    with pytest.raises(UserError, match="Install the extra"):
        Signing.of(*chain)
    assert read(chain[0]) is None


def test_algorithms() -> None:
    keys = [ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())]
    assert [algorithm_of(pem(key)) for key in keys] == ["es256", "es384", "es512"]
    assert algorithm_of(pem(ed25519.Ed25519PrivateKey.generate())) == "ed25519"
    assert algorithm_of(pem(rsa.generate_private_key(65537, 2048))) == "ps256"
    with pytest.raises(UserError, match="are not for C2PA"):
        algorithm_of(pem(x25519.X25519PrivateKey.generate()))
