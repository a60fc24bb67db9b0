"""What writes: mutations beside bare transactions of the same statements, webhooks beside a bare insert."""

import asyncio
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count, islice

import orjson

from bench import data
from bench.figures import Measured, Section, at_least, at_most, exponent, ratios, spread
from bench.load import post
from bench.reads import OURS
from bench.rounds import Round, rates, spent, timed
from bench.servers import House, Program
from models.actions.settings import configure_provider
from models.actions.vault import Vault
from models.rules.states import Provider
from models.tables.config import opened
from resolvers.reads.ids import encode

BARE = "a bare transaction"
INSERT = "a bare insert"
DIFFERENT = 2_000
MOST_A_SECOND = 4_000
SECRET = "of this run"  # noqa: S105  # signs webhooks to a server that is thrown away
_numbers = count(1)

UPDATE = "mutation ($input: UpdateUserInput!) { updateUser(input: $input) { user { id phone version } } }"
CREATE = "mutation ($input: CreateUserInput!) { createUser(input: $input) { user { id email } } }"


@dataclass(frozen=True, slots=True)
class Change:
    """A mutation, and how the same is asked of the bare handler."""

    name: str
    document: str
    path: str

    def body(self, number: int, people: int) -> dict[str, str]:
        """The input of the request with this number."""
        if self.name == "createUser":
            return {"firstName": "A", "lastName": "Person", "email": f"new{number}@example.test"}
        user = data.uuid_of(data.USER, 1 + number * 7919 % people)
        return {"userId": str(user), "phone": f"020 {number:08}"}

    def ours(self, token: str, people: int) -> Iterator[bytes]:
        """Requests to our API, none like another."""
        for number in _numbers:
            body = self.body(number, people)
            if "userId" in body:
                body["userId"] = encode("User", data.uuid_of(data.USER, 1 + number * 7919 % people))
            whole = {"query": self.document, "variables": {"input": body}}
            yield post("/graphql", orjson.dumps(whole), authorization=f"Bearer {token}")

    def bare(self, people: int) -> Iterator[bytes]:
        """Requests to the bare handler, none like another."""
        for number in _numbers:
            yield post(self.path, orjson.dumps(self.body(number, people)))


CHANGES = (Change("updateUser", UPDATE, "/update"), Change("createUser", CREATE, "/create"))


def asked(house: House, program: Program, requests: Iterator[bytes], expected: bytes, seconds: float) -> Round:
    """Fresh requests, each sent once."""
    most = list(islice(requests, int(MOST_A_SECOND * seconds)))
    return house.round(program, most, seconds, expected=expected, once=True)


def mutations(house: House) -> Section:
    """Mutations a second beside the bare transaction, and how their time grows with the tables."""
    section = Section("Mutations", MUTATIONS)
    database, people = house.seeded(house.scale), data.PEOPLE * house.scale // 100
    token = house.token(database)
    ours = house.api_of(house.scale)
    with house.asgi("bench.limit:app", house.environment(database)) as bare:
        for change in CHANGES:
            house.say(f"mutations: {change.name}")
            expected = f'{{"data":{{"{change.name}":{{"user":{{"id":'.encode()
            turns = {
                OURS: partial(asked, house, ours, change.ours(token, people), expected),
                BARE: partial(asked, house, bare, change.bare(people), expected),
            }
            told = timed(turns, house.rounds, house.seconds)
            found = rates(told)
            line = Measured(f"`{change.name}`, a second", BARE, ratios(found[OURS], found[BARE]), at_least(0.7))
            section.lines.append(line)
            section.notes.append(f"`{change.name}`: {spent(told)}")
    if section.missed:
        file, requests = house.profiles / "mutations.txt", CHANGES[0].ours(token, people)
        with house.api(database, profile=file) as profiled:
            asked(house, profiled, requests, b"{", house.seconds / 4)
            profiled.watch()
            asked(house, profiled, requests, b"{", 2 * house.seconds)
        section.profiles.append(file)
    _grown(house, section)
    return section


def _grown(house: House, section: Section) -> None:
    change, sizes = CHANGES[0], house.sizes
    house.say("mutations: growth")
    turns = {}
    for size in sizes:
        requests = change.ours(house.token(house.seeded(size)), data.PEOPLE * size // 100)
        turns[str(size)] = partial(asked, house, house.api_of(size), requests, b'{"data":{')
    told = timed(turns, 3, house.seconds / 2)
    costs = [1 / spread(each).median for each in rates(told).values()]
    words = f"`{change.name}`: exponent of time by size of the tables"
    section.lines.append(Measured(words, f"{sizes} hundredths", [exponent(sizes, costs)], at_most(0.1), ""))


def _events() -> Iterator[bytes]:
    """GoCardless webhooks of one event each, signed, none like another."""
    for number in _numbers:
        event = {
            "id": f"EV{number}",
            "created_at": "2026-01-01T00:00:00.000Z",
            "resource_type": "payments",
            "action": "confirmed",
            "links": {"payment": f"PM{number}"},
            "details": {"origin": "gocardless", "cause": "payment_confirmed", "description": "Confirmed."},
        }
        body = orjson.dumps({"events": [event]})
        yield post(
            "/webhooks/gocardless", body, webhook_signature=hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()
        )


def _signing(house: House, database: str) -> None:
    async def configure() -> None:
        secrets = {"access_token": "sandbox_of_this_run", "webhook_secret": SECRET}
        async with opened(house.pair.named(database)):
            await configure_provider(
                Provider.GOCARDLESS,
                settings={},
                secrets=secrets,
                enabled=True,
                vault=Vault(house.secret),
                acting="bench",
                at=datetime.now(UTC),
            )

    asyncio.run(configure())


def webhooks(house: House) -> Section:
    """Webhooks stored a second beside a bare insert of the same event, and by how many there were before."""
    section = Section("Webhooks", WEBHOOKS)
    database = house.empty("bench_webhooks")
    _signing(house, database)
    with house.api(database) as ours, house.asgi("bench.limit:app", house.environment(database)) as bare:
        house.say("webhooks")
        turns = {
            OURS: partial(asked, house, ours, _events(), b'{"received":1,"new":1}'),
            INSERT: partial(asked, house, bare, _events(), b'{"received":1,"new":1}'),
        }
        told = timed(turns, house.rounds, house.seconds)
        found = ratios(rates(told)[OURS], rates(told)[INSERT])
        section.lines.append(Measured("events taken in, a second", INSERT, found, at_least(0.7)))
        section.notes.append(f"An event: {spent(told)}")
        house.say("webhooks: growth")
        sizes, costs = [30 * size for size in house.sizes], []
        for size in sizes:
            events = list(islice(_events(), size))
            costs.append(house.load.run(ours.port, events, 120, expected=b'{"received":1', once=True).seconds)
    words = "exponent of time by number of events"
    section.lines.append(Measured(words, f"{sizes} events", [exponent(sizes, costs)], at_most(1.1), ""))
    if section.missed:
        file = house.profiles / "webhooks.txt"
        with house.api(database, profile=file) as profiled:
            asked(house, profiled, _events(), b"{", house.seconds / 4)
            profiled.watch()
            asked(house, profiled, _events(), b"{", 2 * house.seconds)
        section.profiles.append(file)
    return section


MUTATIONS = (
    "Mutations a second, 16 connections, one server process, ratios of one round each. The bare handler runs the"
    " statements ours runs (lock, look-ups, change, audit row, job), prepared, in one transaction, and reads the"
    " answer; it checks nothing and rings nobody."
)
WEBHOOKS = (
    "GoCardless webhooks of one event, 16 connections, to the real address. The bare handler parses the body and"
    " inserts the event; ours checks the signature and stores the event with its job, with those that come meanwhile."
)
