"""The one thread that computes, and the queue before it: in the order of arrival, and by turns between clients."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from i2i_serve.limits import share
from i2i_serve.refusals import RefusalError
from i2i_serve.stopping import Deadline

LATER = 20
"""The most seconds after which a refused client is asked to come again."""


@dataclass(eq=False)
class Job:
    """Something to compute for a client; ``future`` has its result."""

    client: str
    task: Callable[[], Any]
    future: "Future[Any]" = field(default_factory=Future)


class Worker:
    """Runs jobs one by one, at most ``waiting`` of which wait. ``deadline`` stops the one that runs, if it is given up."""

    def __init__(self, deadline: Deadline, waiting: int) -> None:
        self.deadline, self.most = deadline, waiting
        self._ready = threading.Condition()
        self._queues: OrderedDict[str, deque[Job]] = OrderedDict()
        self._running: Job | None = None
        self._mean, self._closed = 0.1, False
        self._thread = threading.Thread(target=self._work, name="i2i-serve", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        return sum(map(len, tuple(self._queues.values())))

    def submit(self, client: str, task: Callable[[], Any]) -> Job:
        """Put a job into the queue.

        Raises:
            RefusalError: the queue is full, or this client's part of it.
        """
        with self._ready:
            waiting, own = self.waiting, len(self._queues.get(client, ()))
            if self._closed:
                raise ending()
            if waiting >= self.most or own >= share(self.most):
                seconds = min(LATER, 1 + int(self._mean * waiting))
                told = f"{waiting} translations wait already, and no more may. Try again in {seconds} s."
                raise RefusalError(503, "busy", told, seconds)
            job = Job(client, task)
            self._queues.setdefault(client, deque()).append(job)
            self._ready.notify()
        return job

    def give_up(self, job: Job) -> None:
        """Nobody waits for this job any more: it leaves the queue, or stops at the next layer."""
        with self._ready:
            job.future.cancel()
            if self._running is job:
                self.deadline.gone = True
            elif job in (queue := self._queues.get(job.client, deque())):
                queue.remove(job)
                if not queue:
                    del self._queues[job.client]

    def close(self) -> None:
        """No more jobs: the running one stops at the next layer, and the thread ends then."""
        with self._ready:
            self._closed, self.deadline.gone = True, True
            jobs = [job for queue in self._queues.values() for job in queue]
            self._queues.clear()
            self._ready.notify()
        for job in jobs:
            job.future.cancel()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join(10)

    def _next(self) -> Job | None:
        with self._ready:
            self._running = None
            while not self._queues and not self._closed:
                self._ready.wait()
            if self._closed:
                return None
            client, queue = self._queues.popitem(last=False)
            self._running = queue.popleft()
            if queue:
                self._queues[client] = queue  # behind the other clients
            self.deadline.gone = False
            return self._running

    def _work(self) -> None:
        while job := self._next():
            if not job.future.set_running_or_notify_cancel():
                continue
            began = time.monotonic()
            try:
                job.future.set_result(job.task())
            except BaseException as error:  # it belongs to the one who waits
                job.future.set_exception(error)
            self._mean += 0.2 * (time.monotonic() - began - self._mean)


def ending() -> RefusalError:
    """What is said to those whose translation the end of the server has cut off."""
    return RefusalError(503, "ending", "the server ends. Try again when it is back.", 5)
