"""The schema as clients meet it: printed as committed, described throughout, its words arriving as ours."""

from pathlib import Path

from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType

from models.rules.states import Role
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


def test_everything_is_described() -> None:
    missing = []
    for name, made in OURS.items():
        parts = {name: made}
        if isinstance(made, GraphQLEnumType):
            parts |= {f"{name}.{word}": value for word, value in made.values.items()}
        if isinstance(made, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field_name, field in made.fields.items():
                parts[f"{name}.{field_name}"] = field
                arguments = getattr(field, "args", {})
                parts |= {f"{name}.{field_name}({each})": argument for each, argument in arguments.items()}
        missing += [path for path, part in parts.items() if not part.description]
    assert missing == []
