"""Provenance: a written picture says that a trained algorithm made it, which model, and of which recipe.

The statement is an XMP packet with IPTC's ``digitalSourceType``, which needs no program of ours to be read.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from PIL.PngImagePlugin import PngInfo

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
KEY = "XML:com.adobe.xmp"
"""The name of a PNG's text chunk that holds XMP."""


def packet(config: Mapping[str, Any], use: Mapping[str, Any] | None = None) -> str:
    """The XMP packet for results of the model with this config.json, whose options that may change had the values *use*."""
    names = ", ".join(
        f"{origin.get('plugin', '')}:{origin.get('name', '')} {origin.get('version', '')}" for origin in origins(config)
    )
    fields = {"i2i:model": names.strip(), "i2i:recipe": fingerprint(config)}
    if use:
        fields["i2i:use"] = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in use.items())
    attributes = " ".join(f"{name}={quoteattr(value)}" for name, value in fields.items())
    tool = escape(f"i2i {config.get('i2i', '')}".strip())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:i2i="urn:i2i:provenance" '
        f"{attributes}><Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        f"<xmp:CreatorTool>{tool}</xmp:CreatorTool></rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    )


def origins(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What each generator of the model was made of: name, plugin, version and options."""
    made = config.get("generator", {})
    return [made] if "name" in made else list(made.values())


def fingerprint(config: Mapping[str, Any]) -> str:
    """A hash of what the model was made of and how: generator, domains and everything that the run recorded."""
    told = {name: config.get(name) for name in ("generator", "domains", "directions", "extra")}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def png_options(config: Mapping[str, Any], use: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments with which Pillow's PNG writer includes the statement."""
    info = PngInfo()
    info.add_itxt(KEY, packet(config, use))
    return {"pnginfo": info}
