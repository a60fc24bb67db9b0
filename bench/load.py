"""Who asks: keep-alive HTTP connections in a process of its own, as cheap as Python can make them.

Each connection sends its next request when the answer to the last one is whole. What is no answer of the expected
kind ends the measurement, so nothing is counted that was refused, throttled or broken.
"""

import asyncio
import http.client
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from multiprocessing import get_context

import uvloop

CONNECTIONS = 16
DATA = b'{"data":{'
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Told:
    """What a load found: answers, the seconds they took together and each, and how busy the asking process was."""

    count: int
    seconds: float
    times: Sequence[float]
    busy: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.count / self.seconds


class Refused(Exception):
    """An answer was not of the expected kind."""


def post(path: str, body: bytes, **headers: str) -> bytes:
    """A whole HTTP/1.1 request of JSON."""
    given = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{given}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def get(path: str, **headers: str) -> bytes:
    """A whole HTTP/1.1 request without a body."""
    given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{given}\r\n".encode()


def ask(port: int, request: bytes) -> bytes:
    """One request over a connection of its own -> the body. Raises RuntimeError for any status but 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    connection.request("POST", lines[0].split()[1], body, headers)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise RuntimeError(f"{answer.status}: {told[:2000].decode(errors='replace')}")
    return told


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[bytes], until: float, expected: bytes, gap: float, wait: float) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.times: list[float] = []
        self._requests, self._until, self._expected = requests, until, expected
        self._heard, self._gap, self._wait = b"", gap, wait

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's, which is none of asyncio's
        asyncio.get_running_loop().call_later(self._wait, self._ask)

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer; when it is whole, ask the next."""
        heard = self._heard = self._heard + data
        end = heard.find(b"\r\n\r\n")
        length = _LENGTH.search(heard, 0, end) if end >= 0 else None
        if length is None:
            if end >= 0:
                self._fail(heard)
            return
        if len(heard) < end + 4 + int(length[1]):
            return
        self.times.append(time.perf_counter() - self._began)
        if heard[9:12] != b"200" or not heard.startswith(self._expected, end + 4):
            self._fail(heard)
            return
        self._heard = b""
        if self._gap:  # by the clock, not by the answer: one that waited once must not bring all of them in step
            asyncio.get_running_loop().call_later(max(0.0, self._gap - self.times[-1]), self._ask)
        else:
            self._ask()

    def connection_lost(self, _why: Exception | None) -> None:
        """Say so where more was to come."""
        if not self.done.done():
            self.done.set_exception(Refused("the server hung up"))

    def _ask(self) -> None:
        request = next(self._requests, None) if time.perf_counter() < self._until else None
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(request)

    def _fail(self, heard: bytes) -> None:
        if not self.done.done():
            self.done.set_exception(Refused(heard[:2000].decode(errors="replace")))
        self._transport.close()


def _itself(client: _Client) -> _Client:
    return client


async def _all(
    port: int, requests: Iterator[bytes], connections: int, seconds: float, expected: bytes, gap: float
) -> Told:
    began, used = time.perf_counter(), time.process_time()
    loop = asyncio.get_running_loop()
    clients = [
        _Client(requests, began + seconds, expected, gap, gap * number / connections) for number in range(connections)
    ]
    for client in clients:
        await loop.create_connection(partial(_itself, client), "127.0.0.1", port)
    await asyncio.gather(*(client.done for client in clients))
    wall = time.perf_counter() - began
    times = [each for client in clients for each in client.times]
    return Told(len(times), wall, times, (time.process_time() - used) / wall)


def _load(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, expected: bytes, once: bool, gap: float
) -> Told:
    wanted = iter(requests) if once else cycle(requests)
    return uvloop.run(_all(port, wanted, connections, seconds, expected, gap))


class Load:
    """The process that asks."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"))

    def run(
        self,
        port: int,
        requests: Sequence[bytes],
        seconds: float,
        *,
        connections: int = CONNECTIONS,
        expected: bytes = DATA,
        once: bool = False,
        gap: float = 0.0,
    ) -> Told:
        """Ask for so many seconds, over and over or `once` each, with a `gap` after each answer. Raises Refused."""
        return self._pool.submit(_load, port, requests, connections, seconds, expected, once, gap).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()
