"""The server's figures for Prometheus, in a registry of their own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Measures:
    """``GET /metrics``. Routes, statuses and reasons come from closed lists, so that no client can make new series."""

    type = CONTENT_TYPE_LATEST

    def __init__(self, waiting: Callable[[], int], held: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own = self.registry
        self.requests = Counter("i2i_requests", "Requests that were answered.", ("route", "status"), registry=own)
        self.seconds = Histogram("i2i_request_seconds", "Seconds of a request.", ("route",), buckets=SECONDS, registry=own)
        self.model = Histogram(
            "i2i_translation_seconds", "Seconds of a translation.", ("model",), buckets=SECONDS, registry=own
        )
        self.refused = Counter("i2i_refused", "Requests that were refused.", ("reason",), registry=own)
        self.flight = Gauge("i2i_requests_in_flight", "Requests that are being answered.", registry=own)
        Gauge("i2i_waiting", "Translations that wait.", registry=own).set_function(waiting)
        Gauge("i2i_held_bytes", "Bytes of bodies and answers in memory.", registry=own).set_function(held)

    @contextmanager
    def request(self, route: str) -> Iterator[None]:
        """Counts what is in flight, and how long it is."""
        began = time.monotonic()
        with self.flight.track_inprogress():
            try:
                yield
            finally:
                self.seconds.labels(route).observe(time.monotonic() - began)

    def text(self) -> bytes:
        """All figures, in the format that Prometheus reads."""
        return generate_latest(self.registry)
