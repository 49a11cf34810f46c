"""`i2i serve` as people meet it: from a stroke to the new picture, under attack, and 200 requests at once.

The model is the shipped SPADE recipe after a few steps, which takes as long as one that is trained for longer. The server is a
process of its own on 127.0.0.1; whoever attacks it is another, from the same address as the honest client.

    python benchmarks/serving.py [RUN] [--seconds 60] [--side 128] [--threads 2] [--only stroke attack crowd]

The attack: 17 clients that send a byte in a fifth of a second, 12 that post JSON of 19 MB every ten seconds, 1,000 uploads of
one pixel over its time, and every second a picture that says it has 10^10 pixels and an EPS.
"""

import http.client
import io
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from machine import arguments, keep, machine_line
from PIL import Image
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/spade_labels2photo.yaml"
STROKE, FACTOR, MEMORY = 0.3, 3.0, 2e9
"""What is wanted at most: seconds from a stroke, times the time alone under attack, bytes of the server."""
SLOW, LARGE, TINY, CROWD = 17, 12, 1000, 200
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n"


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--attack"]:
        attack(int(sys.argv[2]), float(sys.argv[3]))
        return
    parser = arguments(__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="a run with label maps as source; default: the recipe, two steps")
    parser.add_argument("--seconds", type=float, default=60, help="how long the attack lasts")
    parser.add_argument("--side", type=int, default=128, help="height and width of the label map")
    parser.add_argument("--rounds", type=int, default=40, help="strokes")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads in the server")
    parser.add_argument("--only", nargs="*", choices=MEASURES, default=list(MEASURES), metavar="NAME", help=", ".join(MEASURES))
    options = parser.parse_args()
    console = Console(highlight=False)
    console.print(f"{machine_line()}; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as place:
        run = options.run or trained(Path(place))
        figures = {}
        for name in options.only:
            with serving(run, options.threads, options.side) as server:
                figures[name] = MEASURES[name](server, options)
            console.print(f"{name}: {json.dumps(figures[name])}; load {os.getloadavg()[0]:.1f}")
    keep(figures, options.json)


def trained(folder: Path) -> Path:
    """A run of the recipe after two steps."""
    short = ["train.steps=2", "samples.every=2", "checkpoint.every=2", "log.trackers=[]"]
    command = [sys.executable, "-m", "i2i", "run", str(RECIPE), "--out", str(folder / "run")]
    subprocess.run([*command, *(word for value in short for word in ("--set", value))], check=True, capture_output=True)
    return folder / "run"


@dataclass
class Server:
    """A server that runs, and an honest client's request of it."""

    process: psutil.Process
    port: int
    body: bytes
    peak: int = 0
    children: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self, body: bytes | None = None, kind: str = "image/png") -> tuple[int, float]:
        """The status of a request, and for how many seconds to wait if it is refused."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request("POST", "/api/translate", body or self.body, {"Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
            return answer.status, float(answer.headers.get("Retry-After") or 0)
        finally:
            connection.close()

    def honest(self) -> float:
        """Seconds until an honest client has its picture, however often it has to ask."""
        began = time.perf_counter()
        while (answer := self.ask())[0] != 200:
            assert answer[0] in (408, 503), answer
            time.sleep(answer[1] * random.uniform(0.5, 1))
        return time.perf_counter() - began

    def watch(self) -> None:
        """Keep the peak of memory and the largest number of child processes."""
        while not self.ended.wait(0.1):
            with suppress(psutil.Error):
                self.peak = max(self.peak, self.process.memory_info().rss)
                self.children = max(self.children, len(self.process.children(recursive=True)))


@contextmanager
def serving(run: Path, threads: int, side: int) -> Iterator[Server]:
    """The server of a run, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "i2i", "serve", str(run), "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = ""
        while (address := re.search(r"http://127\.0\.0\.1:(\d+)", said)) is None:
            said += (line := process.stdout.readline())
            assert line, said
        server = Server(psutil.Process(process.pid), int(address[1]), b"")
        server.body = label_map(server, side)
        watcher = threading.Thread(target=server.watch)
        watcher.start()
        try:
            for _ in range(3):
                server.honest()
            yield server
        finally:
            server.ended.set()
            watcher.join()
            process.terminate()


def label_map(server: Server, side: int) -> bytes:
    """A label map in stripes of the model's classes, as the page would send it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/api/model")
    (model,) = json.loads(connection.getresponse().read())["models"]
    source = model["domains"][model["directions"][0]["source"]]
    values = np.array([one["value"] for one in source["classes"]], np.uint8)
    rows = values[np.arange(side) * len(values) // side]
    return png(Image.fromarray(np.repeat(rows[:, None], side, 1)))


def png(picture: Image.Image) -> bytes:
    """The file of a picture."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def stroke(server: Server, options: Any) -> dict[str, Any]:
    """From sending a label map to having the picture; and the server's processor time, which a busy machine changes less."""
    before = sum(server.process.cpu_times()[:2])
    times = [server.honest() for _ in range(options.rounds)]
    used = (sum(server.process.cpu_times()[:2]) - before) / len(times)
    told = {"median_s": median(times), "least_s": min(times), "worst_s": max(times), "processor_s": used, "wanted_s": STROKE}
    return {name: round(value, 4) for name, value in told.items()}


def attacked(server: Server, options: Any) -> dict[str, Any]:
    """An honest client's time alone, and during the attack; it asks three times a second."""
    alone = [server.honest() for _ in range(options.rounds)]
    times = []
    command = [sys.executable, __file__, "--attack", str(server.port), str(options.seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attackers:
        end = time.monotonic() + options.seconds
        time.sleep(1)
        while time.monotonic() < end:
            times.append(server.honest())
            time.sleep(max(0.0, 0.33 - times[-1]))
        told = attackers.communicate()[0]
    return {
        "alone_median_s": round(median(alone), 4),
        "median_s": round(median(times), 4),
        "worst_s": round(max(times), 4),
        "ratio": round(median(times) / median(alone), 2),
        "wanted_ratio": FACTOR,
        "pictures": len(times),
        "peak_MB": round(server.peak / 1e6),
        "wanted_MB": round(MEMORY / 1e6),
        "child_processes": server.children,
        "attackers_were_told": json.loads(told),
    }


def crowd(server: Server, options: Any) -> dict[str, Any]:
    """200 clients at once, each of which tries until it is answered."""
    with ThreadPoolExecutor(CROWD) as threads:
        times = sorted(threads.map(lambda _: server.honest(), range(CROWD)))
    return {"answered": len(times), "median_s": round(median(times), 2), "worst_s": round(times[-1], 2)}


MEASURES: dict[str, Callable[[Server, Any], dict[str, Any]]] = {"stroke": stroke, "attack": attacked, "crowd": crowd}


def attack(port: int, seconds: float) -> None:
    """What the attackers do; at the end, how many answers of each status they got."""
    end, told = time.monotonic() + seconds, Counter[str]()
    server = Server(psutil.Process(), port, b"")
    large, tiny, huge = b'{"data": "' + b"x" * 19_000_000 + b'"}', png(Image.new("L", (1, 1))), bomb()

    def repeat(name: str, body: bytes, kind: str, every: float) -> None:
        wake = time.monotonic() + random.uniform(0, every)
        while wake < end:
            time.sleep(max(0.0, wake - time.monotonic()))
            wake += every
            try:
                told[f"{name} {server.ask(body, kind)[0]}"] += 1
            except OSError:
                told[f"{name} cut off"] += 1

    given = [
        *[("slow", b"", "", 0.0)] * SLOW,
        *[("large", large, "application/json", 10.0)] * LARGE,
        *[("tiny", tiny, "image/png", 8 * seconds / TINY)] * 8,
        ("bomb", huge, "image/png", 1.0),
        ("eps", EPS, "image/png", 1.0),
    ]
    with ThreadPoolExecutor(len(given)) as threads:
        for name, body, kind, every in given:
            if name == "slow":
                threads.submit(drip, port, end, told)
            else:
                threads.submit(repeat, name, body, kind, every)
    print(json.dumps(dict(sorted(told.items()))))


def drip(port: int, end: float, told: Counter[str]) -> None:
    """Send a body byte by byte; when the server ends it, begin again."""
    head = b"POST /api/translate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 19000000\r\n\r\n"
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            told["slow begun"] += 1
            connection.sendall(head + b"\x89PNG")
            while time.monotonic() < end:
                time.sleep(0.2)
                connection.sendall(b"x")


def bomb() -> bytes:
    """A picture that says of itself that it is 100000 x 100000."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""))
    packed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


if __name__ == "__main__":
    main()
