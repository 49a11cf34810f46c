"""``i2i serve`` as bad clients meet it: slow, many, gone, or without manners; and that the others do not notice."""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from i2i.errors import UserError
from i2i_serve.limits import Limits
from i2i_serve.log import PER_MINUTE, Brief
from i2i_serve.stopping import Deadline

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

import io

import httpx

from i2i_serve.door import client_of
from i2i_serve.refusals import RefusalError
from i2i_serve.service import Sample, Service
from i2i_serve.transfers import CHUNK, Hold, Transfers
from i2i_serve.worker import Job, Worker
from served_models import Place, model, png, running

Serving = Callable[..., Place]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """Starts the server of a new model in one direction; it ends with the test."""
    with ExitStack() as stack:

        def start(limits: Limits | None = None, **options: Any) -> Place:
            translator = model(tmp_path / "model", (("a", "b"),), **options)
            return stack.enter_context(running(Service(translator, limits or Limits(), "town")))

        yield start


def opened(place: Place, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", place.port), timeout=20)
    connection.sendall(sent)
    return connection


def heard(connection: socket.socket) -> bytes:
    """All until the server closes the connection."""
    found = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(4000):
            found += part
    return found


def posting(length: int, more: str = "") -> bytes:
    return f"POST /api/translate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_slow_uploads_shut_nobody_out_and_the_slowest_give_way(serving: Serving) -> None:
    place = serving(Limits(megabytes=1, transfers=4))
    picture = io.BytesIO()
    Image.effect_noise((300, 300), 90).convert("RGB").save(picture, "PNG")  # more than comes at once
    assert len(picture.getvalue()) > 2 * CHUNK
    with ExitStack() as stack:
        slow = [stack.enter_context(opened(place, posting(10**6) + b"x" * (100 + i))) for i in range(17)]
        for _ in range(3):
            assert place.translate(picture.getvalue()).status_code == 200
        until(lambda: place.figure('i2i_requests_total{route="/api/translate",status="408"}') >= 14)
        assert place.figure("i2i_held_bytes") < 10_000
        answers = [heard(one) for one in slow[:13]]
        assert all(b" 408 " in answer for answer in answers)
        assert all(b"this body was the slowest. Try again." in answer for answer in answers)
    until(lambda: place.figure("i2i_held_bytes") == 0)


def test_who_has_only_begun_does_not_give_way_to_a_great_start(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow clients that send much at first are faster, on average and for long, than an upload that has just begun."""
    monkeypatch.setattr("i2i_serve.transfers.GRACE", 0.1)
    place = serving(Limits(megabytes=1, transfers=4))
    data = noise(200)
    with ExitStack() as stack:
        for _ in range(3):  # as many as one client may have
            stack.enter_context(opened(place, posting(10**6) + b"x" * 60_000))
        until(lambda: place.figure("i2i_held_bytes") >= 180_000)
        time.sleep(0.15)
        with opened(place, posting(len(data), "Content-Type: image/png\r\n")) as honest:
            honest.sendall(data[:10])
            until(lambda: place.figure('i2i_requests_total{route="/api/translate",status="408"}') == 1)
            honest.sendall(data[10:])
            assert b" 200 " in honest.recv(4000)


def test_headers_and_bodies_have_a_time(serving: Serving) -> None:
    place = serving(Limits(header_seconds=0.3, body_seconds=0.5))
    with ExitStack() as stack:
        silent = stack.enter_context(opened(place))
        dripping = stack.enter_context(opened(place, b"GET / HTTP/1.1\r\nHost: 127"))
        again = stack.enter_context(opened(place, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
        answered = b""
        while b'{"status":"ok"}' not in answered:
            answered += again.recv(4000)
        again.sendall(b"GET /health HTTP/1.1\r\nX: ")
        body = stack.enter_context(opened(place, posting(1000) + b"x"))
        began = time.monotonic()
        for connection in (silent, dripping, again):
            assert heard(connection) == b""
        answer = heard(body)
        assert b" 408 " in answer
        assert b"the body took longer than 0.5 s. Send less." in answer
        assert time.monotonic() - began < 5


def noise(side: int) -> bytes:
    picture = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)).save(picture, "PNG", compress_level=0)
    return picture.getvalue()


@contextmanager
def deaf(place: Place, sent: bytes) -> Iterator[Callable[[], bool]]:
    """A client that takes no answer; whether the server still holds its connection open."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", place.port))
        connection.sendall(sent)
        own, process = connection.getsockname()[1], psutil.Process()

        def kept() -> bool:
            others = [one for one in process.net_connections("tcp") if one.raddr[1:] == (own,)]
            return any(one.status == "ESTABLISHED" for one in others)

        yield kept


def test_a_client_that_takes_no_answer_is_left_alone(tmp_path: Path) -> None:
    limits = Limits(body_seconds=0.5)
    translator = model(tmp_path / "model", (("a", "b"),))
    with running(Service(translator, limits, "town", samples=[Sample("a:b", noise(1800))])) as place:
        body = noise(900)
        with deaf(place, posting(len(body)) + body) as kept:
            until(lambda: place.figure("i2i_held_bytes") > 10**6)
            until(lambda: place.figure("i2i_held_bytes") == 0 and not kept())
        with deaf(place, b"GET /api/samples/town/0.png HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as kept:
            until(kept)
            until(lambda: not kept(), 10)
        assert place.value() == 215


def test_too_many_connections_close_the_oldest_that_ask_nothing(serving: Serving) -> None:
    place = serving(Limits(connections=6, header_seconds=60))
    with ExitStack() as stack:
        idle = [stack.enter_context(opened(place)) for _ in range(20)]
        assert place.value() == 215
        for connection in idle[:14]:
            assert heard(connection) == b""


def test_a_client_that_goes_away_is_not_computed_for(serving: Serving) -> None:
    place = serving(layers=200)  # ten seconds
    body = png()
    began = time.monotonic()
    running_one = opened(place, posting(len(body)) + body)
    until(lambda: place.figure("i2i_requests_in_flight") == 2 and place.figure("i2i_waiting") == 0)
    waiting_one = opened(place, posting(len(body)) + body)
    until(lambda: place.figure("i2i_waiting") == 1)
    waiting_one.close()
    until(lambda: place.figure("i2i_waiting") == 0)
    running_one.close()
    until(lambda: place.figure("i2i_requests_in_flight") == 1)
    until(lambda: place.figure('i2i_requests_total{route="/api/translate",status="499"}') == 2)
    with opened(place, posting(len(body)) + body):  # this one's turn has come
        until(lambda: place.figure("i2i_requests_in_flight") == 2 and place.figure("i2i_waiting") == 0)
    assert time.monotonic() - began < 9
    assert place.figure('i2i_translation_seconds_count{model="town"}') == 0


def test_a_translation_that_takes_too_long_is_stopped(serving: Serving) -> None:
    place = serving(Limits(seconds=0.2), layers=200)
    began = time.monotonic()
    assert "took longer than 0.2 s" in place.refusal()
    assert time.monotonic() - began < 5  # ten seconds if it were not


def test_many_at_once_are_all_answered_in_the_end(serving: Serving) -> None:
    place = serving(Limits(waiting=4), layers=1)
    refused = []

    def one(_: int) -> int:
        for _ in range(1000):
            answer = client.post("/api/translate", content=png())
            if answer.status_code != 503:
                break
            assert "translations wait already" in answer.json()["detail"]
            assert 1 <= int(answer.headers["retry-after"]) <= 20
            refused.append(1)
            time.sleep(0.05)
        return answer.status_code

    with httpx.Client(base_url=place.url, timeout=60) as client, ThreadPoolExecutor(30) as threads:
        assert set(threads.map(one, range(30))) == {200}
    assert refused
    assert place.figure("i2i_waiting") == place.figure("i2i_held_bytes") == 0


def test_the_attack_of_the_benchmark(
    serving: Serving, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(root / "benchmarks")
    import serving as benchmark

    monkeypatch.setattr(benchmark, "TINY", 50)
    place = serving()
    benchmark.attack(place.port, 1.0)
    told = json.loads(capsys.readouterr().out)
    assert (
        {"bomb 400", "eps 400", "tiny 200"}
        <= set(told)
        <= {"bomb 400", "eps 400", "tiny 200", "tiny 503", "large 415", "slow begun"}
    )
    assert told["slow begun"] >= benchmark.SLOW


def test_the_queue_goes_round_the_clients() -> None:
    worker, order, gate = Worker(Deadline(), 8), [], threading.Event()
    first = worker.submit("a", gate.wait)
    until(first.future.running)
    jobs = [worker.submit(client, lambda name=f"{client}{i}": order.append(name)) for client in "ab" for i in range(3)]
    jobs.append(worker.submit("a", lambda: order.append("more")))
    jobs.append(worker.submit("c", lambda: None))
    with pytest.raises(RefusalError, match="8 translations wait already, and no more may"):
        worker.submit("c", lambda: None)
    worker.give_up(jobs[1])
    gate.set()
    until(lambda: worker.waiting == 0)
    worker.close()
    worker.join()
    assert order[:5] == ["a0", "b0", "a2", "b1", "more"]
    with pytest.raises(RefusalError, match="the server ends"):
        worker.submit("a", lambda: None)


def test_one_client_does_not_fill_the_queue() -> None:
    worker, gate = Worker(Deadline(), 8), threading.Event()
    job: Job = worker.submit("a", gate.wait)
    until(job.future.running)
    for _ in range(6):
        worker.submit("a", gate.wait)
    with pytest.raises(RefusalError):
        worker.submit("a", gate.wait)
    worker.submit("b", gate.wait)
    gate.set()
    worker.close()
    worker.join()


def test_bodies_in_memory_are_bounded_and_who_has_most_gives_way() -> None:
    limits = Limits(megabytes=1)

    async def main() -> None:
        transfers, ends = Transfers(limits), []

        async def upload(client: str, size: int, parts: int) -> None:
            sent = 0

            async def receive() -> Any:
                nonlocal sent
                if sent == parts:
                    await asyncio.sleep(60)  # slow from now on
                sent += 1
                return {"type": "http.request", "body": bytes(size), "more_body": True}

            with transfers.hold(client) as hold:
                try:
                    await transfers.body(hold, receive, 2**40)
                except RefusalError as error:
                    ends.append((client, error.status))

        tasks = [asyncio.create_task(upload("greedy", 10**7, 5)) for _ in range(8)]
        modest = asyncio.create_task(upload("modest", 10**5, 5))
        await asyncio.sleep(0.2)
        assert transfers.held <= limits.held
        assert len(ends) >= 3
        assert set(ends) == {("greedy", 408)}
        assert not modest.done()
        for task in (*tasks, modest):
            task.cancel()
        await asyncio.gather(*tasks, modest, return_exceptions=True)
        assert transfers.held == 0
        with transfers.hold("a") as one, transfers.hold("b") as two:  # what waits to be computed cannot give way
            one.bytes = limits.held

            async def receive() -> Any:
                return {"type": "http.request", "body": b"x", "more_body": False}

            with pytest.raises(RefusalError, match="as many pictures in memory as it may"):
                await transfers.body(two, receive, 10)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("address", "client"),
    [("10.0.0.7", "10.0.0.7"), ("::ffff:10.0.0.7", "10.0.0.7"), ("2001:db8::1:2:3:4", "2001:db8::"), ("", ""), ("x", "x")],
)
def test_who_is_one_client(address: str, client: str) -> None:
    assert client_of({"client": (address, 1)}) == client
    assert client_of({"client": None}) == ""


def test_a_server_that_ends_stops_its_translation_and_says_nothing_odd(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body, began = png(), time.monotonic()
    with running(Service(model(tmp_path / "model", (("a", "b"),), layers=200), Limits(), "town")) as place:
        connection = opened(place, posting(len(body)) + body)
        until(lambda: place.figure("i2i_requests_in_flight") == 2)
    with connection:
        assert b"the server ends. Try again when it is back." in heard(connection)
    assert time.monotonic() - began < 8  # ten seconds if it were not
    assert capfd.readouterr().err == ""


def test_speed_has_a_second_of_grace() -> None:
    hold = Hold("a")
    hold.moved, hold.began = 100, 5.0
    assert hold.speed(5.0) == 100
    assert hold.speed(104.0) == 1


MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /%zz%ff\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /api/translate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /api/translate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /api/translate HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /api/samples/%00/0.png HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET http://elsewhere.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[\r\n\r\n",
    b"POST /api/translate HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[\r\nContent-Length: 0\r\n\r\n",
)


def test_malformed_requests_leave_the_log_clean(serving: Serving, capfd: pytest.CaptureFixture[str]) -> None:
    place = serving()
    for data in MALFORMED:
        with opened(place) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                assert b" 500 " not in connection.recv(4000)
            except OSError:  # the server has closed it, before or after it knew all
                pass
    assert place.value() == 215
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert len(said.splitlines()) <= len(MALFORMED)


def test_a_model_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    service = Service(model(tmp_path / "model", (("a", "b"),)), Limits(), "town")
    with running(service) as place:
        monkeypatch.setattr(type(service.translator.module), "forward", lambda *_, **__: {}[5])
        assert "the model failed on this picture (KeyError: 5). Try another." in place.refusal(status=500)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("i2i serve: translation: KeyError: 5 (test_serve_clients.py:")


def test_the_log_has_so_many_lines_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("i2i_serve.log.time.monotonic", lambda: now[0])
    brief = Brief()

    def passes() -> logging.LogRecord | None:
        try:
            raise ValueError("two\nlines")
        except ValueError as error:
            record = logging.LogRecord("x", logging.ERROR, "", 0, "it %s", ("broke",), (ValueError, error, error.__traceback__))
        return record if brief.filter(record) else None

    lines = [record for _ in range(100) if (record := passes())]
    assert len(lines) == PER_MINUTE
    assert lines[0].getMessage() == "it broke: ValueError: two lines"
    assert lines[0].exc_info is None
    now[0] = 61.0
    record = passes()
    assert record is not None
    assert record.getMessage().endswith("(70 more lines were left out a minute ago)")


def test_layers_stop_when_the_time_is_over(tmp_path: Path) -> None:
    module = model(tmp_path / "model").module
    deadline, pixels = Deadline(module), np.zeros(1)
    with deadline.within(-1), pytest.raises(UserError, match="took longer"):
        module.layers(pixels)
    assert module.layers(pixels) is pixels
