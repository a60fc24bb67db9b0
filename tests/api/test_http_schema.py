"""The schema as clients meet it: printed as committed, described throughout, its words arriving as ours."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    is_specified_scalar_type,
)

from models.rules.states import Role
from resolvers.promises import DEPRECATION, broken
from schema.root import schema

SDL = Path(__file__).resolve().parents[2] / "schema" / "schema.graphql"
OURS = {name: made for name, made in schema._schema.type_map.items() if not name.startswith("__")}


def test_the_committed_schema_is_the_one_that_is_served() -> None:
    assert SDL.read_text() == f"{schema.as_str()}\n"


def test_an_enum_arrives_as_the_word_the_rules_compare_with() -> None:
    role = OURS["Role"]
    assert isinstance(role, GraphQLEnumType)
    assert role.parse_value("MEMBER") is Role.MEMBER
    for name, made in OURS.items():
        if isinstance(made, GraphQLEnumType):
            for word in made.values:
                assert type(made.parse_value(word)) is not str, f"{name}.{word}"


def test_strawberry_declares_and_our_engine_serves() -> None:
    taken = {
        f"{node.module}.{each.name}"
        for path in (SDL.parents[1] / "resolvers" / "protocol").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("strawberry")
        for each in node.names
    }
    assert taken == {"strawberry.execution.optimized_is_awaitable", "strawberry.schema.schema.validate_document"}
    assert schema.extensions == ()


def parts() -> Iterator[tuple[str, Any]]:
    """Everything that can have a description, by its path; directives and their arguments as well."""
    for name, made in OURS.items():
        yield name, made
        if isinstance(made, GraphQLEnumType):
            yield from ((f"{name}.{word}", value) for word, value in made.values.items())
        if isinstance(made, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field_name, field in made.fields.items():
                yield f"{name}.{field_name}", field
                arguments = getattr(field, "args", {})
                yield from ((f"{name}.{field_name}({each}:)", argument) for each, argument in arguments.items())
    for directive in schema._schema.directives:
        yield f"@{directive.name}", directive
        yield from ((f"@{directive.name}({each}:)", argument) for each, argument in directive.args.items())


def test_everything_is_described() -> None:
    assert [path for path, part in parts() if not (part.description or "").strip()] == []


def test_each_scalar_of_ours_says_where_it_is_specified() -> None:
    ours = [
        made for made in OURS.values() if isinstance(made, GraphQLScalarType) and not is_specified_scalar_type(made)
    ]
    assert len(ours) >= 6
    assert [made.name for made in ours if not (made.specified_by_url or "").startswith("https://")] == []


def test_what_is_deprecated_says_what_to_use_and_until_when() -> None:
    reasons = {path: getattr(part, "deprecation_reason", None) for path, part in parts()}
    assert {path: said for path, said in reasons.items() if said and not DEPRECATION.fullmatch(said)} == {}


BEFORE = """
type Query { a(x: Int = 1): String k: Kind b: String! @deprecated(reason: "Use a. Removed after 2026-06-30.") }
enum Kind { ONE TWO }"""


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        (BEFORE, []),
        (BEFORE.replace("ONE TWO", "ONE TWO THREE").replace("a(x: Int = 1)", "a(x: Int = 1, y: Int)"), []),
        (BEFORE.replace("b: String!", "b: String"), ["FIELD_CHANGED_KIND"]),
        (BEFORE.replace("ONE TWO", "ONE"), ["VALUE_REMOVED_FROM_ENUM"]),
        (BEFORE.replace("x: Int = 1", "x: Int = 1, y: Int!"), ["REQUIRED_ARG_ADDED"]),
        (BEFORE.replace("x: Int = 1", "x: Int = 2"), ["ARG_DEFAULT_VALUE_CHANGE"]),
        (BEFORE.replace("k: Kind", ""), ["FIELD_REMOVED"]),
    ],
)
def test_a_change_that_breaks_clients_is_named(after: str, changes: list[str]) -> None:
    assert [told.partition(":")[0] for told in broken(BEFORE, after, date(2026, 6, 1))] == changes


def test_what_was_to_go_by_a_day_may_be_gone_after_it() -> None:
    after = "type Query { a(x: Int = 1): String k: Kind } enum Kind { ONE TWO }"
    assert broken(BEFORE, after, date(2026, 6, 30)) == ["FIELD_REMOVED: Field Query.b was removed."]
    assert broken(BEFORE, after, date(2026, 7, 1)) == []


@pytest.mark.parametrize(("released", "status"), [("", 0), ("extend type Query { gone: Int }", 1)])
def test_the_command_compares_with_what_was_released(tmp_path: Path, released: str, status: int) -> None:
    (tmp_path / "released.graphql").write_text(f"{SDL.read_text()}\n{released}")
    command = [sys.executable, "-m", "app", "sdl", "--breaking", str(tmp_path / "released.graphql")]
    done = subprocess.run(command, cwd=SDL.parents[1], capture_output=True, text=True, check=False)
    told = "FIELD_REMOVED: Field Query.gone was removed.\n" if status else ""
    assert (done.returncode, done.stderr) == (status, told)
