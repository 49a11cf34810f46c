"""Content Credentials (C2PA): a signed statement in a picture of what made it, by the package ``c2pa-python``.

Signed is that a trained algorithm made the picture, and the picture itself: it shows when a pixel was changed afterwards.
"""

import io
import json
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from i2i.errors import UserError, first_line
from i2i.files import new_file
from i2i_provenance.metadata import SOURCE_TYPE


@dataclass(frozen=True)
class Credentials:
    """``signer`` is the name in the certificate; ``state`` is ``trusted``, ``valid`` (by a signer on no known list) or
    ``invalid``; ``source_type`` is the last part of IPTC's address, empty where none is stated."""

    signer: str
    state: str
    source_type: str = ""


@dataclass(frozen=True)
class Signing:
    """A certificate chain (the signer's first) and its private key, both PEM."""

    chain: bytes
    key: bytes
    algorithm: str

    @classmethod
    def of(cls, certificate: Path, key: Path) -> "Signing":
        """From two files; a picture is signed on trial.

        Raises:
            UserError: the package is missing, or they cannot sign.
        """
        if find_spec("c2pa") is None:
            raise UserError("c2pa: the package is missing. Install the extra: pip install 'i2i-framework[c2pa]'.")
        try:
            chain, secret = certificate.read_bytes(), key.read_bytes()
            made = cls(chain, secret, algorithm_of(secret))
            trial = io.BytesIO()
            Image.new("RGB", (8, 8)).save(trial, "PNG")
            made._signed(trial, "i2i")
        except Exception as error:  # the packages raise kinds of their own
            reason = first_line(error)
            raise UserError(
                f"c2pa: {certificate} and {key} cannot sign ({reason}). Give a chain of certificates, the signer's first, that "
                "allows to sign, and its private key without a password, both as PEM."
            ) from error
        return made

    def write(self, picture: Image.Image, path: Path, version: str, **options: Any) -> None:
        """Write a picture as a signed PNG file; ``version`` is that of i2i which made the model, ``options`` are Pillow's."""
        unsigned = io.BytesIO()
        picture.save(unsigned, "PNG", **options)
        with new_file(path) as partial:
            partial.write_bytes(self._signed(unsigned, version))

    def _signed(self, picture: io.BytesIO, version: str) -> bytes:
        c2pa = import_module("c2pa")
        action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
        assertion = {"label": "c2pa.actions", "data": {"actions": [action]}}
        manifest = {"claim_generator_info": [{"name": "i2i", "version": version}], "assertions": [assertion]}
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(self.algorithm, self.chain, self.key, None))
        signed = io.BytesIO()
        with signer, c2pa.Builder(json.dumps(manifest), _context(c2pa)) as builder:
            builder.sign(signer, "image/png", picture, signed)
        return signed.getvalue()


def algorithm_of(key: bytes) -> str:
    """C2PA's name for what a private key signs with."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    loaded = load_pem_private_key(key, None)
    if isinstance(loaded, ec.EllipticCurvePrivateKey):
        return {256: "es256", 384: "es384", 521: "es512"}[loaded.curve.key_size]
    if isinstance(loaded, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(loaded, rsa.RSAPrivateKey):
        return "ps256"
    raise UserError(f"keys of the kind {type(loaded).__name__} are not for C2PA")


def _context(c2pa: Any) -> Any:
    """Nothing is fetched from the network, and no small copy of the picture is put in."""
    verify, thumbnail = {"remote_manifest_fetch": False, "ocsp_fetch": False}, {"enabled": False}
    return c2pa.Context(c2pa.Settings.from_dict({"verify": verify, "builder": {"thumbnail": thumbnail}}))


def read(path: Path) -> Credentials | None:
    """The Content Credentials of a picture; None if there are none, or if ``c2pa-python`` is not installed."""
    if find_spec("c2pa") is None:
        return None
    c2pa = import_module("c2pa")
    try:
        reader = c2pa.Reader.try_create(str(path), context=_context(c2pa))
        if reader is None:
            return None
        with reader:
            told, state = json.loads(reader.json()), str(reader.get_validation_state()).lower()
    except c2pa.C2paError:  # of a format that can hold none, or not readable
        return None
    manifest: dict[str, Any] = told["manifests"][told["active_manifest"]]
    name = (manifest.get("signature_info") or {}).get("common_name") or "unknown"
    actions = [a for part in manifest.get("assertions", []) for a in (part.get("data") or {}).get("actions", [])]
    kinds = [str(action["digitalSourceType"]) for action in actions if action.get("digitalSourceType")]
    return Credentials(name, state, kinds[0].rpartition("/")[2] if kinds else "")
