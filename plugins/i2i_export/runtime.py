"""The files of onnxruntime-web that an exported page needs: from a folder, from npm, or named for a CDN. None is in i2i."""

import base64
import hashlib
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

from i2i.errors import UserError, one_line

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""The SHA-512 of the npm package."""
CDN = f"https://cdn.jsdelivr.net/npm/{PACKAGE}@{VERSION}/dist/"
BUILDS = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
}
"""For each way to compute its module and its binary. The one for WebGPU needs JavaScript Promise Integration; the build that
works without is 10 MB larger."""
PINNED = {
    "ort.wasm.bundle.min.mjs": (73054, "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"),
    "ort-wasm-simd-threaded.wasm": (14239897, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
    "ort.jspi.bundle.min.mjs": (115872, "07ec090355e11b342c95436db54da2d0c2bd5b1d319745bfd3337e6bdcf170ac"),
    "ort-wasm-simd-threaded.jspi.wasm": (16758545, "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93"),
}
"""The bytes and the SHA-256 of these files in the package."""
SECONDS = 300
"""So long may npm take."""
LICENCE = f"""\
{PACKAGE} {VERSION}, https://github.com/microsoft/onnxruntime

MIT License. Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software
is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR
IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

The WebAssembly binaries contain further programs, listed with their licences in ThirdPartyNotices.txt at that address.
"""


@dataclass(frozen=True)
class Runtime:
    """The files by their names, which are empty for a CDN; where a page finds them; their bytes and SHA-256."""

    files: Mapping[str, bytes]
    base: str
    listed: Mapping[str, tuple[int, str]]

    def manifest(self) -> dict[str, Any]:
        """What the page has to know."""
        entries = {name: {"file": name, "bytes": size, "sha256": digest} for name, (size, digest) in self.listed.items()}
        builds = {build: {"module": entries[module], "binary": entries[code]} for build, (module, code) in BUILDS.items()}
        return {"package": PACKAGE, "version": VERSION, "base": self.base, **builds}


def runtime(source: str) -> Runtime:
    """The runtime that ``--runtime`` names: ``npm``, ``cdn``, or a folder, the package's or its dist.

    Raises:
        UserError: a file is missing, or of another version; npm is missing or fails.
    """
    if source == "cdn":
        return Runtime({}, CDN, PINNED)
    files = _packed() if source == "npm" else _in_folder(Path(source))
    return Runtime(files, "runtime/", {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()})


def _in_folder(given: Path) -> dict[str, bytes]:
    if not given.is_dir():
        raise UserError(
            f"--runtime: '{given}' is not a folder. Give the folder of the npm package {PACKAGE} {VERSION}, or npm or cdn."
        )
    folder = next((place for place in (given / "dist", given) if (place / BUILDS["wasm"][0]).is_file()), given)
    missing = [name for name in PINNED if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"--runtime: {folder} lacks {', '.join(missing)}. Give the folder of the npm package {PACKAGE} {VERSION}, for "
            f"instance node_modules/{PACKAGE}."
        )
    try:
        files = {name: (folder / name).read_bytes() for name in PINNED}
    except OSError as error:
        raise UserError(f"--runtime: {folder} cannot be read ({error.strerror}). Check its permissions.") from error
    for module, _ in BUILDS.values():
        _check_version(files[module], folder / module)
    return files


def _check_version(module: bytes, path: Path) -> None:
    """The package's modules begin with a comment that names the version."""
    found = re.search(rb"ONNX Runtime Web v([\w.+-]+)", module[:500])
    version = found[1].decode() if found else "an unknown version"
    if version != VERSION:
        raise UserError(f"--runtime: {path} is of {PACKAGE} {version}; this page is made for {VERSION}. Install {VERSION}.")


def _packed() -> dict[str, bytes]:
    """From the package that npm fetches, none of whose scripts are run."""
    npm = which("npm")
    if npm is None:
        raise UserError(f"--runtime npm: there is no program npm. Install Node.js, or give the folder of {PACKAGE} {VERSION}.")
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--silent"]
        try:
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"--runtime npm: npm did not end within {SECONDS} s. Check the network.") from error
        found = list(Path(place).glob("*.tgz"))
        if done.returncode or len(found) != 1:
            told = one_line(done.stderr.strip() or f"exit code {done.returncode}", 300)
            raise UserError(
                f"--runtime npm: npm could not fetch {PACKAGE} {VERSION} ({told}). Check the network, or give a folder."
            )
        return _unpacked(found[0])


def _unpacked(package: Path) -> dict[str, bytes]:
    if base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() != INTEGRITY:
        raise UserError(
            f"--runtime npm: what npm fetched is not {PACKAGE} {VERSION}: its SHA-512 differs. Check which registry npm uses."
        )
    with tarfile.open(package) as archive:
        members = {name: archive.extractfile(f"package/dist/{name}") for name in PINNED}
        return {name: file.read() for name, file in members.items() if file is not None}
