"""A gate's question, beside an answer that asks nothing: a year of a busy place, gates that keep their connections."""

import asyncio
from datetime import UTC, datetime
from functools import partial

import asyncpg

from bench.figures import Measured, Section, quantile, ratios
from bench.load import Told, get
from bench.reads import OURS
from bench.rounds import timed
from bench.servers import House, Program
from models.actions.keys import create_api_key
from models.rules.states import KeyPurpose, Role
from models.tables.config import opened

NOTHING = "`/healthz`"
PEOPLE, CLASSES_EACH, DIFFERENT = 1_000, 100, 1_000
# (gates, seconds between the questions of one): as fast as they are answered, then a busy building
LOADS = ((1, 0.0), (16, 0.0), (40, 0.2))

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


async def _asking(url: str) -> tuple[str, list[str]]:
    """A filled database -> a key of a gate, and the questions to ask it."""
    connection = await asyncpg.connect(url)
    centre = await connection.fetchval("SELECT id FROM centre")
    people = await connection.fetch(f"SELECT id FROM user_account ORDER BY random() LIMIT {DIFFERENT}")
    await connection.close()
    async with opened(url):
        _, token = await create_api_key(
            name="gate", role=Role.PARTNER, purpose=KeyPurpose.GATE, acting="bench", at=datetime.now(UTC)
        )
    return token, [f"/gate/v1/may-enter?user={person['id']}&centre={centre}" for person in people]


def _asked(house: House, api: Program, requests: list[bytes], gates: int, every: float, seconds: float) -> Told:
    return house.load.run(api.port, requests, seconds, connections=gates, gap=every, expected=b"{")


def run(house: House) -> Section:
    """How long gates wait, with more and more of them at once."""
    section = Section("Gates", WORDS)
    database = house.empty("bench_gate")
    house.say("gates: a year of classes")
    house.fill(database, SEED)
    token, paths = asyncio.run(_asking(house.pair.named(database)))
    questions = [get(path, authorization=f"Bearer {token}") for path in paths]
    with house.api(database) as api:
        for gates, every in LOADS:
            house.say(f"gates: {gates} at once")
            turns = {
                OURS: partial(_asked, house, api, questions, gates, every),
                NOTHING: partial(_asked, house, api, [get("/healthz")], gates, every),
            }
            told = timed(turns, min(3, house.rounds), house.seconds)
            how = f"{gates} gates, one question each {every} s" if every else f"{gates} at once"
            for part in (0.5, 0.99):
                waits = {name: [1000 * quantile(each.times, part) for each in rounds] for name, rounds in told.items()}
                words = f"time to answer, p{100 * part:.0f}, {how}"
                section.lines.append(Measured(words, "", waits[OURS], None, " ms"))
                section.lines.append(Measured(words, NOTHING, ratios(waits[OURS], waits[NOTHING])))
    return section


WORDS = (
    "`/gate/v1/may-enter` on a database where a thousand people attend a class a day for a hundred days, every tenth"
    " of them suspended; times beside those of an answer that asks nothing."
)
