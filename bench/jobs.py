"""Jobs: how soon one begins, how many a second, and what a worker that waits costs; beside arq, saq and a plain list.

Our jobs are written by mutations through the API (`updateUser` asks for a `courses.push_user`, which finds nothing to
tell after a look-up), and run by `python -m workers`. Their rows say when each was made and finished, and `bench.begun`
when each began.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import asyncpg
import redis

from bench import data, tools
from bench.figures import Measured, Section, at_least, at_most, exponent, quantile, ratios, spread
from bench.load import CONNECTIONS
from bench.peers.queues import GAP_SECONDS, TOLD
from bench.reads import OURS
from bench.rounds import interleaved
from bench.servers import ROOT, House, Program
from bench.writes import CHANGES

ARQ, ARQ_LOOKING, SAQ, LIST = "arq, tuned", "arq, tuned, one look-up a job", "saq", "LPUSH and BRPOP"
ROUNDS = 3
FILLED = 4_000
DRIPPED = 300
IDLE_SECONDS, SETTLED_SECONDS = 10.0, 6.0
LONGEST_SECONDS = 120
KIND = "courses.push_user"
_DONE = f"SELECT count(*) FROM job WHERE kind = '{KIND}' AND state <> 'DONE'"
_WHEN = f"""SELECT id::text, extract(epoch FROM created_at)::float8 AS sent,
    extract(epoch FROM finished_at)::float8 AS ended FROM job WHERE kind = '{KIND}'"""
_NEW = "SELECT count(*) FROM job WHERE finished_at IS NULL AND error_code IS NULL"
Begun = list[tuple[float, float]]  # when a job was sent and when it began, in seconds


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue beside ours: its name in `peers.queues`, whose Python runs it, and Valkey's database for it."""

    kind: str
    python: Path
    database: int
    environment: Mapping[str, str]

    def url(self, house: House) -> str:
        """Where its keys are."""
        return f"{house.pair.redis_url.rpartition('/')[0]}/{self.database}"

    def argv(self, house: House, how: str, number: int = 0) -> tuple[str, ...]:
        """The command that works, fills or drips."""
        program = str(ROOT / "bench" / "peers" / "queues.py")
        return (str(self.python), program, self.kind, how, self.url(house), str(number))

    @contextmanager
    def worker(self, house: House) -> Iterator[Program]:
        """A worker of this queue."""
        with house.program(f"queue-{self.kind}", self.argv(house, "work"), self.environment, said="works") as running:
            yield running

    def send(self, house: House, how: str, number: int) -> None:
        """Enqueue, in a process of its own."""
        subprocess.run(self.argv(house, how, number), check=True, cwd=ROOT)

    def told(self, house: House) -> Begun:
        """What its worker tells in the end."""
        with redis.Redis.from_url(self.url(house)) as client:
            told = client.blpop([TOLD], LONGEST_SECONDS)
        if told is None:
            raise TimeoutError(f"{self.kind} did not finish")
        return [(sent, began) for sent, began in json.loads(told[1])]

    def filled(self, house: House, number: int) -> Begun:
        """Jobs that wait for a worker that starts."""
        self.send(house, "fill", number)
        with self.worker(house):
            return self.told(house)

    def dripped(self, house: House, number: int) -> Begun:
        """Jobs that come one by one to a worker that waits."""
        with self.worker(house):
            time.sleep(0.5)
            self.send(house, "drip", number)
            return self.told(house)


@dataclass(frozen=True, slots=True)
class Own:
    """Our queue."""

    database: str
    token: str
    api: Program

    def sent(self, house: House, number: int, gap: float = 0.0) -> None:
        """Ask for so many jobs, at once or one by one."""
        wanted = list(islice(CHANGES[0].ours(self.token, data.PEOPLE * house.scale // 100), number))
        expected, connections = b'{"data":{"updateUser":{"user":{"id":', 1 if gap else CONNECTIONS
        house.load.run(
            self.api.port,
            wanted,
            LONGEST_SECONDS,
            expected=expected,
            once=True,
            gap=gap,
            connections=connections,
        )

    def ended(self, house: House) -> dict[str, tuple[float, float]]:
        """Wait until all have ended -> when each was written and ended, by its id; they are forgotten."""

        async def wait() -> dict[str, tuple[float, float]]:
            connection = await asyncpg.connect(house.pair.named(self.database))
            await _none_left(connection, _DONE, "our jobs did not finish")
            found = {row["id"]: (row["sent"], row["ended"]) for row in await connection.fetch(_WHEN)}
            await connection.execute(f"DELETE FROM job WHERE kind = '{KIND}'")
            await connection.close()
            return found

        return asyncio.run(wait())

    def cleared(self, house: House) -> None:
        """Forget the jobs that other measurements asked for, and who was to be woken for them."""
        house.fill(self.database, "DELETE FROM job")
        with redis.Redis.from_url(house.pair.redis_url) as client:
            client.flushall()

    def settled(self, house: House) -> None:
        """Let a worker do what a first one does once: it opens the books of every invoice."""

        async def wait() -> None:
            connection = await asyncpg.connect(house.pair.named(self.database))
            await _none_left(connection, _NEW, "a worker did not settle")
            await connection.close()

        with house.worker(self.database):
            asyncio.run(wait())
        house.fill(self.database, "SELECT 1")

    def filled(self, house: House, number: int) -> Begun:
        """Jobs that wait for a worker that starts; each counts when it has ended."""
        self.sent(house, number)
        with house.worker(self.database):
            return list(self.ended(house).values())

    def dripped(self, house: House, number: int) -> Begun:
        """Jobs that come one by one to a worker that waits."""
        file = house.folder / "begun.json"
        argv = (sys.executable, "-m", "bench.begun", KIND, str(file))
        with house.program("workers", argv, house.environment(self.database), said="worker runs"):
            time.sleep(SETTLED_SECONDS / 2)
            self.sent(house, number, GAP_SECONDS)
            ended = self.ended(house)
        began = json.loads(file.read_text())
        return [(sent, began[job_id]) for job_id, (sent, _) in ended.items()]


async def _none_left(connection: asyncpg.Connection, counted: str, why: str) -> None:
    """Return once a statement counts none. Raises TimeoutError."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while await connection.fetchval(counted):
        if time.monotonic() > deadline:
            raise TimeoutError(why)
        await asyncio.sleep(0.1)


def rate(begun: Begun) -> float:
    """Jobs a second, from the first that began to the last; those that began with the first count for nothing."""
    starts = [start for _, start in begun]
    first = min(starts)
    return sum(start > first for start in starts) / (max(starts) - first)


def delays(begun: Begun) -> list[float]:
    """Milliseconds from sending to beginning, of each."""
    return [1000 * (began - sent) for sent, began in begun]


def run(house: House) -> Section:
    """Throughput, delay, growth, and what waiting costs."""
    section = Section("Jobs", WORDS)
    database = house.seeded(house.scale)
    python, look_up = Path(sys.executable), {"DATABASE_URL": house.pair.named(database)}
    beside = {
        ARQ: Queue("arq", python, 1, {}),
        ARQ_LOOKING: Queue("arq", python, 2, look_up),
        LIST: Queue("list", python, 4, {}),
    }
    try:
        beside[SAQ] = Queue("saq", tools.python(), 3, {})
    except tools.Missing as missing:
        section.notes.append(f"saq was skipped: {missing}.")
    own = Own(database, house.token(database), house.api_of(house.scale))
    own.cleared(house)
    own.settled(house)
    number = FILLED * house.scale // 100
    house.say("jobs: throughput")
    turns: dict[str, Callable[[], Begun]] = {OURS: partial(own.filled, house, number)}
    turns |= {name: partial(queue.filled, house, number) for name, queue in beside.items()}
    rates = {name: list(map(rate, told)) for name, told in interleaved(turns, min(ROUNDS, house.rounds)).items()}
    for name in beside:
        target = at_least(1) if name in (ARQ, ARQ_LOOKING) else None
        section.lines.append(Measured("jobs a second", name, ratios(rates[OURS], rates[name]), target))
    _delays(house, section, own, beside)
    house.say("jobs: growth")
    few, many = number // 10, 3 * number  # fewer than that a worker takes at once
    sizes = [few, number, many]
    costs = [few / rate(own.filled(house, few)), number / spread(rates[OURS]).median]
    costs.append(many / rate(own.filled(house, many)))
    words = "exponent of time by number of jobs"
    section.lines.append(Measured(words, f"{sizes} jobs", [exponent(sizes, costs)], at_most(1.1), ""))
    _idle(house, section, beside)
    if section.missed:
        _profiled(house, section, own, number)
    return section


def _delays(house: House, section: Section, own: Own, beside: Mapping[str, Queue]) -> None:
    house.say("jobs: from enqueued to begun")
    number = DRIPPED * house.scale // 100
    found = {OURS: delays(own.dripped(house, number))}
    found |= {name: delays(queue.dripped(house, number)) for name, queue in beside.items() if name != ARQ_LOOKING}
    for name, values in found.items():
        p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
        whose = "ours" if name == OURS else name
        section.lines.append(Measured(f"from enqueued to begun, p50, {whose}", "", [p50], None, " ms"))
        target = at_most(20) if name == OURS else None
        section.lines.append(Measured(f"from enqueued to begun, p99, {whose}", "", [p99], target, " ms"))


def _idle(house: House, section: Section, beside: Mapping[str, Queue]) -> None:
    house.say("jobs: what a worker that waits costs")
    database = house.empty("bench_idle")
    with ExitStack() as running:
        workers = {OURS: running.enter_context(house.worker(database))}
        for name, queue in beside.items():
            if name != ARQ_LOOKING:
                workers[name] = running.enter_context(queue.worker(house))
        time.sleep(SETTLED_SECONDS)
        before = {name: program.cpu for name, program in workers.items()}
        time.sleep(IDLE_SECONDS)
        for name, program in workers.items():
            share = 100 * (program.cpu - before[name]) / IDLE_SECONDS
            whose = "ours" if name == OURS else name
            target = at_most(0.5) if name == OURS else None
            section.lines.append(
                Measured(f"processor while nothing is to do, {whose}", "", [share], target, " % of a core")
            )


def _profiled(house: House, section: Section, own: Own, number: int) -> None:
    file = house.profiles / "jobs.txt"
    own.sent(house, number)
    with house.worker(own.database, profile=file) as profiled:
        profiled.watch()
        own.ended(house)
    section.profiles.append(file)


WORDS = (
    "Jobs a second from the first that began to the last, of those that waited when the worker started; ratios of one"
    " round each. Ours are rows in PostgreSQL, written by mutations with their change, and end with their row; the"
    " others' are lost with Redis. Delays are of jobs that come one by one, until the job itself notes that it begins:"
    " ours from the beginning of the transaction that asks for it, the others' from the call that enqueues it. arq"
    " polls a hundred times a second and runs two hundred at once."
)
