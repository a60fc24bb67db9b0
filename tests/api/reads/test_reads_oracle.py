"""Random operations, answered as they are deployed and by an oracle that shares nothing with that, give the same bytes.

The oracle (`oracle/`) is graphql-core on the printed schema with resolvers that walk rows. Of errors the path and code
are compared: its words for what is wrong are its own. So are its cursors, which stand for ours one for one.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from graphql import ExecutionResult, get_named_type, is_leaf_type, parse, validate
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from models.rules.partners import ExportFormat, ExportKind
from models.rules.states import Role
from models.tables.partner import ExportFile
from models.tables.setting import ApiKey
from schema.root import schema
from tests.api.reads.drawn import Drawn
from tests.api.reads.oracle.answer import KINDS, SCHEMA, Oracle, written
from tests.api.reads.oracle.lists import Cursors
from tests.api.reads.oracle.world import World, encoded
from tests.api.reads.shaken import shake

ROLES = ("admin", "finance", "desk", "partner", "partner_money", "member", "other member")
CURSOR = re.compile(rf"{Cursors.MARK}\d+")
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)
SETTINGS: dict[str, Any] = {
    "deadline": None, "suppress_health_check": list(HealthCheck), "phases": PHASES, "report_multiple_bugs": False
}  # fmt: skip


class Both:
    """Asks both, and knows which of our cursors the oracle's stand for."""

    def __init__(self, ask: Any, oracle: Oracle, viewers: Any) -> None:
        self.ask, self.oracle, self._viewers = ask, oracle, viewers
        self._ours: dict[str, str] = {}
        self._theirs: dict[str, str] = {}

    async def same(self, query: str, role: str, variables: dict[str, Any]) -> list[str]:
        """Both answer alike -> the oracle's cursors in it."""
        assert not (wrong := validate(schema._schema, parse(query))), (wrong, query)
        theirs = self.oracle.answer(query, variables, self._viewers[role])
        ours = {name: self._ours.get(value, value) if _plain(value) else value for name, value in variables.items()}
        body, (data, errors) = await self.ask.answer(query, role, **ours), await self.ask.result(query, role, **ours)
        said = f"{query}\n{ours}\nas {role}"
        if theirs.errors:
            assert body is None, said
            _same_errors(theirs, data, errors, said)
        self._learn(data, theirs.data)
        expected = CURSOR.sub(lambda found: self._ours.get(found[0], found[0]), written(theirs))
        assert _body(data) == expected, said
        assert theirs.errors or body == expected, said
        return sorted(set(CURSOR.findall(written(theirs))), key=lambda word: int(word.removeprefix(Cursors.MARK)))

    def _learn(self, ours: Any, theirs: Any) -> None:
        """Every cursor of ours stands for one of theirs, and the other way round."""
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for name in theirs.keys() & ours.keys():
                self._learn(ours[name], theirs[name])
        elif isinstance(theirs, list) and isinstance(ours, list):
            for one, other in zip(ours, theirs, strict=False):
                self._learn(one, other)
        elif isinstance(theirs, str) and CURSOR.fullmatch(theirs) and isinstance(ours, str):
            stood = self._ours.setdefault(theirs, ours), self._theirs.setdefault(ours, theirs)
            assert stood == (ours, theirs), [self.oracle.cursors.place(each) for each in (theirs, stood[1])]


def _plain(value: Any) -> bool:
    return isinstance(value, str)


def _body(data: Any) -> str:
    return json.dumps({"data": data}, ensure_ascii=False, separators=(",", ":"))


def _same_errors(theirs: ExecutionResult, data: Any, errors: Any, said: str) -> None:
    """The same roots fail, each with the code of something that is wrong under it."""
    expected = {tuple(error.path or ()): (error.extensions or {})["codes"] for error in theirs.errors or ()}
    found = {tuple(error.path): error.extensions["code"] for error in errors}
    assert found.keys() <= expected.keys(), said
    assert found, said
    assert all(code in expected[path] for path, code in found.items()), said
    assert data is None or found.keys() == expected.keys(), said


@pytest.fixture(scope="module")
async def both(ask: Any, viewers: Any, database_url: str) -> Both:
    """Both over a few hundred rows, drawn from the conftest's."""
    key = viewers["partner"].key_id
    await ApiKey.create(id=key, name="kiosk", public_part="kio", secret_hash="0" * 64, role=Role.PARTNER, scopes=[])
    made: dict[str, Any] = {"format": next(iter(ExportFormat)), "expires_at": datetime(2026, 1, 9, tzinfo=UTC)}
    await ExportFile.create(
        id=UUID(int=119), job_id=UUID(int=111), api_key_id=key, kind=next(iter(ExportKind)), **made,
    )  # fmt: skip
    await shake(database_url, seed=20)
    return Both(ask, Oracle(await World.load(database_url)), viewers)


async def test_every_field_of_every_type(both: Both) -> None:
    for kind in sorted(KINDS):
        query = f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on {kind} {fields_of(SCHEMA.type_map[kind], 1)} }} }}"
        ids = [encoded(kind, row["id"]) for row in both.oracle.world.kind(kind)]
        await both.same(query, "admin", {"ids": ids})


def fields_of(type_: Any, depth: int) -> str:
    """Every field of a type, and of what it leads to down to a depth."""
    chosen = ["__typename"]
    for name, told in type_.fields.items():
        within: Any = get_named_type(told.type)
        if is_leaf_type(within):
            chosen.append(name)
        elif depth:
            chosen.append(f"{name} {fields_of(within, depth - 1)}")
    return f"{{ {' '.join(chosen)} }}"


async def asked_of_both(data: Any, role: str, both: Both) -> None:
    """Draw an operation, get the cursors it wants by asking for their lists first, and ask it."""
    drawn = Drawn(data.draw, both.oracle.world)
    query = drawn.document()
    for wanted in drawn.wanted:
        if cursors := await both.same(drawn.probe(wanted), "admin", {}):
            drawn.values[wanted.variable] = cursors[wanted.place % len(cursors)]
    await both.same(query, role, drawn.values)


@settings(max_examples=40, **SETTINGS)
@given(data=st.data(), role=st.sampled_from(ROLES))
async def test_random_operations(data: Any, role: str, both: Both) -> None:
    await asked_of_both(data, role, both)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("role", ROLES)
@settings(max_examples=500, **SETTINGS)
@given(data=st.data())
async def test_many_random_operations(data: Any, role: str, both: Both) -> None:
    await asked_of_both(data, role, both)
