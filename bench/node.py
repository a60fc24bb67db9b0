"""The peers that need Node.js: what they are asked, how they are installed, and what we are to be ahead by."""

import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.load import ask, post
from bench.servers import House, Program
from bench.shapes import Shape
from local.state import held_ports

Cursor = Callable[[Shape, str], str]
FOLDER = Path(__file__).resolve().parent / "peers"
AHEAD = {"Mercurius with graphql-jit": 1.5, "PostGraphile": 3.0}


class Missing(Exception):
    """Node.js, or what npm was to bring, is not here; says which."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server in Node.js, whose answers `plain` makes ours.

    Where its schema is of another form it has `documents` of its own, and `cursors`: from its port, its words for rows.
    """

    name: str
    program: str
    plain: Callable[[Shape, bytes], Any]
    documents: Mapping[str, str] | None = None
    cursors: "Callable[[int], Cursor] | None" = None


def versions() -> str:
    """What is locked, by name and version."""
    locked: dict[str, str] = orjson.loads((FOLDER / "package.json").read_bytes())["dependencies"]
    return ", ".join(f"{name} {version}" for name, version in locked.items())


def install() -> str:
    """Bring the locked packages by npm -> the version of Node.js. Raises Missing."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise Missing("Node.js and npm are not on PATH")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    argv = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(argv, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"npm could not install the peers: {done.stderr.strip().splitlines()[-1]}")
    return version


@contextmanager
def served(house: House, peer: Peer, environment: Mapping[str, str]) -> Iterator[Program]:
    """A peer on a free port."""
    (port,) = held_ports(1)
    argv = ("node", str(FOLDER / peer.program))
    with house.program(
        peer.program, argv, {**environment, "PORT": str(port), "NODE_ENV": "production"}, port
    ) as program:
        yield program


def _as_it_is(_shape: Shape, body: bytes) -> Any:
    return orjson.loads(body)


def _money(row: Any, amount: str, currency: str) -> None:
    row[amount] = {"minorUnits": row[amount], "currency": currency}


def _flat(_shape: Shape, body: bytes) -> Any:
    """PostGraphile's lists are connections, its money is plain columns."""
    answer = orjson.loads(body)
    data = answer["data"]
    for invoice in (data.get("user") or data).get("invoices", {}).get("nodes", ()):
        currency = invoice.pop("currency")
        invoice["items"] = invoice["items"]["nodes"]
        for row, amount in ((invoice, "total"), *((item, "amount") for item in invoice["items"])):
            _money(row, amount, currency)
    return answer


def _graphile_cursors(port: int) -> Cursor:
    """A cursor of PostGraphile is a word for the order, and the row's id."""
    lists = {"b": "allMemberships", "c": "allInvoices"}
    words = {}
    for letter, name in lists.items():
        body = orjson.dumps({"query": f"{{ {name}(first: 1) {{ pageInfo {{ endCursor }} }} }}"})
        told = orjson.loads(ask(port, post("/graphql", body)))
        words[letter] = orjson.loads(b64decode(told["data"][name]["pageInfo"]["endCursor"]))[0]
    return lambda shape, key: b64encode(orjson.dumps([words[shape.letter], key])).decode()


_INVOICE = "id: rowId number status total currency items: invoiceItemsByInvoiceId { nodes { description amount } }"
GRAPHILE = {
    "s": "query ($id: UUID!) { user: userAccountByRowId(rowId: $id) { id: rowId firstName lastName } }",
    "a": "query ($id: UUID!) { user: userAccountByRowId(rowId: $id) { id: rowId firstName lastName email"
    " memberships: membershipsByUserId(first: 10) { nodes { id: rowId status startsOn"
    " type: membershipTypeByMembershipTypeId { id: rowId name } centre: centreByCentreId { name } } }"
    f" invoices: invoicesByUserId(last: 5) {{ nodes {{ {_INVOICE} }} }} }} }}",
    "b": "query ($after: Cursor) { memberships: allMemberships(first: 50, after: $after) { edges { node { id: rowId"
    " status startsOn user: userAccountByUserId { id: rowId firstName lastName }"
    " type: membershipTypeByMembershipTypeId { id: rowId name } } } pageInfo { hasNextPage } } }",
    "c": "query ($after: Cursor) { invoices: allInvoices(first: 50, after: $after) { nodes {"
    f" {_INVOICE} membership: membershipByMembershipId {{ id: rowId"
    " user: userAccountByUserId { firstName lastName } } } } }",
}
PEERS = (
    Peer("Mercurius with graphql-jit", "mercurius.mjs", _as_it_is),
    Peer("PostGraphile", "postgraphile.mjs", _flat, GRAPHILE, _graphile_cursors),
)
