"""Reads: the three shapes and the smallest query, against the limit and against peers on the same rows."""

import random
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

import orjson

from bench import data, node
from bench.figures import Measured, Section, at_least, at_most, exponent, ratios, spread
from bench.load import ask, post
from bench.rounds import Round, rates, spent, timed
from bench.servers import House, Program
from bench.shapes import SHAPES, Shape
from resolvers.reads.ids import encode

OURS, LIMIT, LOADERS = "Dueflow", "the limit", "Strawberry with DataLoaders"
DIFFERENT = 200
COMPARED = 8
_GLOBAL = re.compile(r'"id":"([A-Za-z0-9_-]{40,})"')


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who is asked: where, with which requests of each shape, and how its answers are made comparable."""

    program: Program
    requests: Mapping[str, Sequence[bytes]]
    plain: Callable[[Shape, bytes], Any]

    def round(self, house: House, shape: Shape, seconds: float) -> Round:
        """One round of a shape."""
        return house.round(self.program, self.requests[shape.letter], seconds)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about: people by number, and places in the lists with our cursors of them."""

    people: list[UUID]
    memberships: list[tuple[UUID, str]]
    invoices: list[tuple[UUID, str]]

    def variables(self, shape: Shape, *, raw: bool) -> list[dict[str, str] | None]:
        """The variables of a shape's requests, with bare uuids or as our API gives ids and cursors out."""
        if shape.variable is None:
            return [None]
        if shape.variable == "id":
            return [{"id": str(each) if raw else encode("User", each)} for each in self.people]
        places = self.memberships if shape.letter == "b" else self.invoices
        return [{"after": str(key) if raw else cursor} for key, cursor in places]


def asked_about(port: int, token: str, scale: int) -> Asked:
    """Chosen at random, the same in each run; cursors are what our own API gives out, walking along the lists."""
    chance = random.Random(20)  # noqa: S311  # the same in each run
    users = data.PEOPLE * scale // 100

    def places(field: str, kind: int, number: int) -> list[tuple[UUID, str]]:
        document = f"query ($after: String) {{ {field}(first: 100, after: $after) {{ pageInfo {{ endCursor }} }} }}"
        found: list[tuple[UUID, str]] = []
        after = None
        for page in range(1, min(number // 100, DIFFERENT)):
            body = orjson.dumps({"query": document, "variables": {"after": after}})
            told = orjson.loads(ask(port, post("/graphql", body, authorization=f"Bearer {token}")))
            after = told["data"][field]["pageInfo"]["endCursor"]
            found.append((data.uuid_of(kind, page * 100), after))
        return chance.sample(found, len(found))

    return Asked(
        [data.uuid_of(data.USER, chance.randint(1, users)) for _ in range(DIFFERENT)],
        places("memberships", data.MEMBERSHIP, users * data.MEMBERSHIPS_EACH),
        places("invoices", data.INVOICE, users * data.INVOICES_EACH),
    )


def requests(
    asked: Asked, *, token: str = "", documents: Mapping[str, str] | None = None, cursor: node.Cursor | None = None
) -> dict[str, list[bytes]]:
    """The requests of each shape: ours with a key, others' with bare uuids, and their documents where theirs differ."""
    extra = {"authorization": f"Bearer {token}"} if token else {}
    made = {}
    for shape in SHAPES:
        document = (documents or {}).get(shape.letter, shape.document)
        bodies: list[dict[str, Any]] = []
        for variables in asked.variables(shape, raw=not token):
            if cursor and variables and "after" in variables:
                variables = {"after": cursor(shape, variables["after"])}
            bodies.append({"query": document} | ({"variables": variables} if variables else {}))
        made[shape.letter] = [post("/graphql", orjson.dumps(body), **extra) for body in bodies]
    return made


def with_bare_ids(_shape: Shape, body: bytes) -> Any:
    """Our answer with uuids in place of our ids, as peers give them."""

    def bare(found: re.Match[str]) -> str:
        given = found[1]
        plain = urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode()
        return f'"id":"{plain.partition(":")[2]}"'

    return orjson.loads(_GLOBAL.sub(bare, body.decode()))


def as_it_is(_shape: Shape, body: bytes) -> Any:
    """An answer of the same shape."""
    return orjson.loads(body)


@contextmanager
def contestants(house: House, *, with_node: bool) -> Iterator[dict[str, Contestant]]:
    """Ours, the limit, and the peers in Python, or else in Node.js; all started, by name."""
    database = house.seeded(house.scale)
    environment = {"DATABASE_URL": house.pair.named(database)}
    with ExitStack() as running:
        ours, limit = house.api_of(house.scale), running.enter_context(house.asgi("bench.limit:app", environment))
        asked = asked_about(ours.port, house.token(database), house.scale)
        bare = requests(asked)
        found = {
            LIMIT: Contestant(limit, bare, with_bare_ids),
            OURS: Contestant(ours, requests(asked, token=house.token(database)), with_bare_ids),
        }
        if not with_node:
            loaders = running.enter_context(house.asgi("bench.peers.loaders:app", environment))
            found[LOADERS] = Contestant(loaders, bare, as_it_is)
        for peer in node.PEERS if with_node else ():
            program = running.enter_context(node.served(house, peer, environment))
            cursor = peer.cursors(program.port) if peer.cursors else None
            own = requests(asked, documents=peer.documents, cursor=cursor)
            found[peer.name] = Contestant(program, own, peer.plain)
        yield found


def compared(found: Mapping[str, Contestant]) -> None:
    """All give equal answers to equal questions, ours and the limit's to the byte. Raises AssertionError."""
    for shape in SHAPES:
        for number in range(min(COMPARED, len(found[OURS].requests[shape.letter]))):
            bodies = {name: ask(each.program.port, each.requests[shape.letter][number]) for name, each in found.items()}
            if bodies[OURS] != bodies[LIMIT]:
                raise AssertionError(f"{shape.letter}: ours {bodies[OURS]!r}\nthe limit {bodies[LIMIT]!r}")
            wanted = found[OURS].plain(shape, bodies[OURS])
            for name, body in bodies.items():
                if found[name].plain(shape, body) != wanted:
                    raise AssertionError(f"{shape.letter}: {name} answers {body[:3000]!r}\nnot {bodies[OURS][:3000]!r}")


def run(house: House) -> Section:
    """Measure all shapes beside the limit and stock Strawberry, then ours on smaller tables."""
    section = Section("Reads", WORDS)
    with contestants(house, with_node=False) as found:
        _measured(house, section, found)
        _profiled(house, section, found)
    _grown(house, section)
    return section


def beside_node(house: House) -> Section:
    """Measure all shapes beside the servers in Node.js. Raises node.Missing."""
    section = Section("Reads beside Node.js", BESIDE_NODE)
    section.notes.append(f"Node.js {node.install()}, {node.versions()}.")
    with contestants(house, with_node=True) as found:
        _measured(house, section, found)
    return section


def _measured(house: House, section: Section, found: Mapping[str, Contestant]) -> None:
    compared(found)
    section.notes.append(f"{COMPARED} answers of each shape were compared first: ours and the limit's to the byte.")
    for shape in SHAPES:
        house.say(f"{section.title.lower()}: {shape.words}")
        turns = {name: partial(each.round, house, shape) for name, each in found.items()}
        told = timed(turns, house.rounds, house.seconds)
        found_rates = rates(told)
        for name in (name for name in found_rates if name != OURS):
            ahead = {} if shape.tiny else node.AHEAD
            wanted = shape.of_limit if name == LIMIT else ahead.get(name)
            target = None if wanted is None else at_least(wanted)
            line = Measured(
                f"{shape.letter}: {shape.words}", name, ratios(found_rates[OURS], found_rates[name]), target
            )
            section.lines.append(line)
        section.notes.append(f"{shape.letter}: {spent(told)}")


def _profiled(house: House, section: Section, found: Mapping[str, Contestant]) -> None:
    """Where the time goes in each shape that missed its part of the limit."""
    missed = {line.what[0] for line in section.missed if line.beside == LIMIT}
    if not missed:
        return
    file = house.profiles / "reads.txt"
    with house.api(house.seeded(house.scale), profile=file) as profiled:
        ours = replace(found[OURS], program=profiled)
        ours.round(house, SHAPES[-1], house.seconds / 4)
        profiled.watch()
        for shape in (shape for shape in SHAPES if shape.letter in missed):
            ours.round(house, shape, house.seconds)
    section.profiles.append(file)


def _grown(house: House, section: Section) -> None:
    times: dict[str, list[float]] = {}
    sizes = house.sizes
    asked = {}
    for size in sizes:
        ours, token = house.api_of(size), house.token(house.seeded(size))
        asked[str(size)] = Contestant(ours, requests(asked_about(ours.port, token, size), token=token), with_bare_ids)
    for shape in (shape for shape in SHAPES if shape.sql):
        house.say(f"reads: growth of {shape.words}")
        turns = {size: partial(each.round, house, shape) for size, each in asked.items()}
        told = timed(turns, 3, house.seconds / 2)
        times[shape.letter] = [1 / spread(each).median for each in rates(told).values()]
    for letter, costs in times.items():
        words = f"{letter}: exponent of time by size of the tables"
        section.lines.append(Measured(words, f"{sizes} hundredths", [exponent(sizes, costs)], at_most(0.1), ""))


WORDS = (
    "Requests a second, 16 connections, one server process, ratios of one round each. The limit is a bare ASGI"
    " handler that runs one prepared statement, written by hand for the shape, and sends its text; it checks no key, no"
    " rate, no right. Ours is the deployed API: key, rights of rows, price, rate and limits on."
)
BESIDE_NODE = (
    "The same operations, rows and rounds, beside servers in Node.js on the same database, one process each; they check"
    " no key, no rate and no right."
)
