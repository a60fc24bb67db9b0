"""`python -m bench.gate`: how long a gate waits for its answer, on this machine, beside an answer that asks nothing.

A database of a year of a busy place, one API process, clients that keep their connections. Prints percentiles.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
from cryptography.fernet import Fernet

from local.servers import Pair, throwaway
from local.state import free_ports
from models.actions.keys import create_api_key
from models.rules.states import KeyPurpose, Role
from models.tables.config import opened

ROOT = Path(__file__).resolve().parents[1]
PEOPLE, CLASSES_EACH, REQUESTS = 2_000, 100, 6_000
# (gates, seconds between the questions of one): as fast as they are answered, then a busy building
LOADS = ((1, 0.0), (4, 0.0), (16, 0.0), (40, 0.2))

# everybody attends a class a day, for a hundred days until today; every tenth person is suspended
SEED = f"""
INSERT INTO centre (id, created_at, updated_at, name, zone, currency, minutes_before, minutes_after)
  VALUES (gen_random_uuid(), now(), now(), 'Bench', 'Europe/London', 'GBP', 30, 30);
INSERT INTO membership_type (id, created_at, updated_at, name, integration, kind)
  VALUES (gen_random_uuid(), now(), now(), 'Bench', 'COURSEPRO_COURSE', 'ONGOING');
INSERT INTO user_account (id, created_at, updated_at, first_name, last_name, email, email_key, state, version, fields)
  SELECT gen_random_uuid(), now(), now(), 'P', n::text, n || '@example.test', n || '@example.test', 'ACTIVE', 1, '{{}}'
  FROM generate_series(1, {PEOPLE}) n;
INSERT INTO membership (id, created_at, updated_at, user_id, membership_type_id, centre_id, currency, status,
  starts_on, version)
  SELECT gen_random_uuid(), now(), now(), u.id, (SELECT id FROM membership_type), (SELECT id FROM centre), 'GBP',
    CASE WHEN u.last_name LIKE '%0' THEN 'SUSPENDED' ELSE 'ACTIVE' END, current_date, 1
  FROM user_account u;
INSERT INTO class_session (id, created_at, updated_at, centre_id, starts_at, ends_at, source, external_ref)
  SELECT gen_random_uuid(), now(), now(), (SELECT id FROM centre), now() - make_interval(days => d, mins => 15),
    now() - make_interval(days => d, mins => -45), 'COURSEPRO', d || ':' || k
  FROM generate_series(0, {CLASSES_EACH - 1}) d, generate_series(0, 49) k;
INSERT INTO attendance (id, created_at, updated_at, class_session_id, user_id, membership_id, mark, source,
  invoiced_elsewhere)
  SELECT gen_random_uuid(), now(), now(), s.id, m.user_id, m.id, 'BOOKED', 'COURSEPRO', false
  FROM (SELECT *, row_number() OVER (ORDER BY id) n FROM membership) m
  JOIN class_session s ON split_part(s.external_ref, ':', 2)::int = m.n % 50;
INSERT INTO access_token (id, created_at, updated_at, user_id, membership_id, class_session_id, centre_id,
  valid_from, valid_until)
  SELECT gen_random_uuid(), now(), now(), a.user_id, a.membership_id, s.id, s.centre_id,
    s.starts_at - interval '30 min', s.ends_at + interval '30 min'
  FROM attendance a JOIN class_session s ON s.id = a.class_session_id JOIN membership m ON m.id = a.membership_id
  WHERE m.status = 'ACTIVE';
"""


async def seeded(database_url: str) -> tuple[str, list[str]]:
    """A migrated database -> a key of a gate, and the questions to ask it."""
    connection = await asyncpg.connect(database_url, server_settings={"statement_timeout": "0"})
    await connection.execute(SEED, timeout=600)
    await connection.execute("VACUUM ANALYZE", timeout=600)  # or it happens while the gates wait
    centre = await connection.fetchval("SELECT id FROM centre")
    people = await connection.fetch("SELECT id FROM user_account ORDER BY random() LIMIT 2000")
    await connection.close()
    async with opened(database_url):
        _, token = await create_api_key(
            name="gate", role=Role.PARTNER, purpose=KeyPurpose.GATE, acting="bench", at=datetime.now(UTC)
        )
    return token, [f"/gate/v1/may-enter?user={person['id']}&centre={centre}" for person in people]


def told(times: list[float], wall: float) -> str:
    """Seconds of each request -> a line."""
    cut = statistics.quantiles(times, n=1000)
    p50, p99, p999 = (1000 * cut[at] for at in (499, 989, 998))
    return f"p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   p99.9 {p999:6.2f} ms   {len(times) / wall:7.0f} a second"


async def measured(
    url: str, token: str, paths: list[str], at_once: int, every: float
) -> tuple[list[float], float, set[bytes]]:
    """(API, key, questions, gates, seconds between) -> seconds of each, seconds of all, the kinds of answers."""
    host, port = url.removeprefix("http://").split(":")
    times: list[float] = []
    answers: set[bytes] = set()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for turn in range(REQUESTS // at_once):
            # by the clock, not by the last answer: a gate that waited once must not bring all of them in step
            await asyncio.sleep(begun + every * (turn + number / at_once) - time.perf_counter())
            path = paths[(turn * at_once + number) % len(paths)]
            began = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            times.append(time.perf_counter() - began)
            answers.add(head[9:12] + b" " + body[: body.find(b'"until"')])
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*map(client, range(at_once)))
    return times, time.perf_counter() - begun, answers


def run(pair: Pair) -> None:
    """Seed, serve, ask, tell."""
    port = free_ports(1)[0]
    settings = {
        "DATABASE_URL": pair.database_url,
        "REDIS_URL": pair.redis_url,
        "DUEFLOW_SECRET_KEY": Fernet.generate_key().decode(),
    }
    env = {**os.environ, **settings}
    subprocess.run([sys.executable, "-m", "app", "migrate"], cwd=ROOT, env=env, check=True)
    token, paths = asyncio.run(seeded(pair.database_url))
    argv = ["-m", "uvicorn", "app:app", "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    server = subprocess.Popen([sys.executable, *argv, "--no-access-log", "--log-level", "error"], cwd=ROOT, env=env)
    try:
        asyncio.run(compared(f"http://127.0.0.1:{port}", token, paths))
    finally:
        server.terminate()
        server.wait(10)


async def compared(url: str, token: str, paths: list[str]) -> None:
    """Ask both, with more and more clients at once."""
    await ready(url)
    for at_once, every in LOADS:
        floor, wall, _ = await measured(url, token, ["/healthz"], at_once, every)
        print(f"{at_once:3} gates, {every} s   healthz   {told(floor, wall)}")
        times, wall, answers = await measured(url, token, paths, at_once, every)
        print(f"{at_once:3} gates, {every} s   gate      {told(times, wall)}")
        print(*sorted(f"     {answer.decode()}" for answer in answers), sep="\n")


async def ready(url: str) -> None:
    """Wait until the API answers, 30 seconds at most."""
    async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                if (await client.get(f"{url}/readyz")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    with throwaway() as servers:
        run(servers)
