"""JSON written by SQL: text put together from texts, which costs the database least.

Every function gives SQL of type text. Names in it are GraphQL's, so they need no escaping.
"""

from collections.abc import Mapping
from typing import Any

from graphql import GraphQLField, get_named_type, get_nullable_type, is_enum_type, is_list_type

_QUOTED = """'"' || ({0})::text || '"'"""  # what holds no character that JSON would escape
_PLAIN = "({0})::text"
_ESCAPED = "to_json({0})::text"
_KINDS = {
    "Boolean": _PLAIN,
    "Int": _PLAIN,
    "DateTime": """'"' || replace(({0} AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z"'""",
    "Date": _QUOTED.replace(
        "({0})::text",
        "CASE {0} WHEN 'infinity' THEN '9999-12-31' WHEN '-infinity' THEN '0001-01-01' ELSE ({0})::text END",
    ),  # the driver writes the last and the first day there are so
    **dict.fromkeys(("BigInt", "Decimal", "ID"), _QUOTED),
}


def value(field: GraphQLField, sql: str) -> str:
    """SQL of what a field stands for -> SQL of it as JSON, NULL where it is."""
    type_: Any = get_named_type(field.type)
    kind = _QUOTED if is_enum_type(type_) else _KINDS.get(type_.name, _ESCAPED)
    if is_list_type(get_nullable_type(field.type)):
        kind = _ESCAPED
    return kind.replace("{0}", sql)


def word(plain: str) -> str:
    """A name as a JSON string."""
    return f"""'"{plain}"'"""


def or_null(sql: str) -> str:
    """JSON, or `null` where there is none."""
    return f"coalesce({sql}, 'null')"


def object_of(values: Mapping[str, str]) -> str:
    """JSON by names -> the object. None of it may be NULL, or all of it is."""
    pairs = (f"""'"{name}":' || {sql}""" for name, sql in values.items())
    return " || ".join(("'{'", " || ',' || ".join(pairs) or "''", "'}'")).replace("' || '", "")


def list_of(rows: str) -> str:
    """JSON of many rows, with commas between (NULL of none) -> the list."""
    return f"'[' || coalesce({rows}, '') || ']'"
