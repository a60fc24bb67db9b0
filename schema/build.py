"""The assembled schema."""

from typing import Any

import strawberry
from strawberry.schema.config import StrawberryConfig

from resolvers.reads.run import bind
from schema import enums, filters  # noqa: F401  importing them declares them
from schema.queries import Query
from schema.scalars import SCALARS
from schema.types import TYPES


def build(mutation: type | None = None, subscription: type | None = None, **options: Any) -> strawberry.Schema:
    """The root types beside Query -> the schema, its declared fields bound to the compiled reads; once per process."""
    config = StrawberryConfig(scalar_map=SCALARS)
    return bind(strawberry.Schema(Query, mutation, subscription, types=TYPES, config=config, **options))
