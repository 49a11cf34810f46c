"""What a picture says about how it was made: IPTC's ``digitalSourceType`` in an XMP packet, our own fields, our watermark.

Signed Content Credentials (C2PA) are read where ``c2pa-python`` is installed.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from i2i.errors import UserError
from i2i.pictures.pixels import read_picture
from i2i_provenance import content_credentials, watermark
from i2i_provenance.content_credentials import Credentials
from i2i_provenance.video import xmp_of

LARGEST = 2**27
"""The largest number of pixels of a picture that is read."""

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
_TOOL = "{http://ns.adobe.com/xap/1.0/}CreatorTool"
_OURS = "{urn:i2i:provenance}"
_TRAINED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")


@dataclass(frozen=True)
class Statement:
    """What a picture states; a field without a statement is empty.

    ``source_type`` is the last part of IPTC's address, as ``trainedAlgorithmicMedia``. ``model`` is ``plugin:generator
    version``, ``recipe`` the hash of what the model was made of, ``use`` what its options that may change after training
    were; all are written by i2i only. Only what is ``signed`` is more than a claim. ``watermark``: the pixels carry the mark of
    ``i2i translate --watermark``; None for a video, in which it is not looked for.
    """

    source_type: str = ""
    tool: str = ""
    model: str = ""
    recipe: str = ""
    use: str = ""
    signed: Credentials | None = None
    watermark: bool | None = False

    @property
    def trained(self) -> bool:
        """Whether the picture states that a trained algorithm made it or a part of it."""
        return bool(self.watermark) or self.source_type in _TRAINED


def inspect(path: str | Path) -> Statement | None:
    """What a PNG, JPEG, WebP or TIFF file states in XMP metadata, Content Credentials or a watermark; None without any.

    Of a video (MP4, MOV) only its XMP metadata are read.

    None proves nothing: metadata are lost whenever a picture is saved by a program that does not keep them, and a watermark
    when it is cropped.

    Raises:
        UserError: the file is absent, or the picture or its XMP packet is corrupt.
    """
    if Path(path).is_file() and (of_video := xmp_of(Path(path))) is not None:
        return replace(_of_packet(of_video, path), watermark=None) if of_video else None
    picture = read_picture(path, LARGEST)
    packet = picture.info.get("xmp")
    found = _of_packet(packet.encode() if isinstance(packet, str) else bytes(packet), path) if packet else Statement()
    found = replace(found, watermark=watermark.found(picture))
    signed = content_credentials.read(Path(path))
    if signed is not None:
        valid = signed.source_type if signed.state != "invalid" else ""
        return replace(found, source_type=found.source_type or valid, signed=signed)
    return found if found.source_type or found.model or found.watermark else None


def _of_packet(data: bytes, path: str | Path) -> Statement:
    try:
        if b"<!DOCTYPE" in data.replace(b"\0", b""):  # XMP has none, and it could make a small file expand without end
            raise UserError(f"{path}: its XMP metadata contain a document type declaration, which i2i does not read.")
        stated = _properties(ElementTree.fromstring(data.strip(b"\0 \n\r\t")))
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: its XMP metadata cannot be read ({error}). The picture itself is intact.") from error
    kind = stated.get(_SOURCE_TYPE, "").rstrip("/").rpartition("/")[2]
    model, recipe, use = (stated.get(f"{_OURS}{name}", "") for name in ("model", "recipe", "use"))
    return Statement(kind, stated.get(_TOOL, ""), model, recipe, use)


def _properties(root: ElementTree.Element) -> dict[str, str]:
    """Every property of the packet with its value, however it is written: as an attribute, an element or a reference."""
    stated: dict[str, str] = {}
    for description in root.iter(f"{_RDF}Description"):
        stated |= description.attrib
        for element in description:
            text = element.get(f"{_RDF}resource") or "".join(element.itertext()).strip()
            stated[element.tag] = text
    return stated


def to_json(path: Path, statement: Statement | None) -> dict[str, Any]:
    """As JSON; ``made_by_trained_algorithm`` is null if nothing is stated."""
    told = {name: value or None for name, value in asdict(statement or Statement()).items()}
    trained = None if statement is None else statement.trained
    return {
        "file": str(path),
        "made_by_trained_algorithm": trained,
        **told,
        "watermark": statement.watermark if statement else False,
    }


def lines(path: Path, statement: Statement | None) -> list[str]:
    """For people."""
    if statement is None:
        return [f"{path}: no provenance metadata and no i2i watermark. That proves nothing: both are easily lost."]
    head = "made by a trained algorithm" if statement.trained else f"stated source: {statement.source_type or 'none'}"
    told = {"tool": statement.tool, "model": statement.model, "recipe": statement.recipe, "use": statement.use}
    if statement.signed is not None:
        told["signed by"] = f"{statement.signed.signer}, {_STATES.get(statement.signed.state, statement.signed.state)}"
    unmarked = "no i2i watermark found" if statement.watermark is not None else "not looked for in a video"
    told["watermark"] = "i2i's, so a trained algorithm made it" if statement.watermark else unmarked
    if statement.watermark and statement.source_type not in ("", *_TRAINED):
        told["but its metadata state"] = statement.source_type
    return [f"{path}: {head}", *(f"  {name}: {value}" for name, value in told.items() if value)]


_STATES = {
    "trusted": "the signer is on a trust list; the picture has not changed since",
    "valid": "the signer is on no trust list known here; the picture has not changed since",
    "invalid": "but the signature does not match: the picture or the statement was changed",
}
