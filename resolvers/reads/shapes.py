"""The GraphQL shapes every read shares: nodes and pages of them."""

from typing import Generic, TypeVar

import strawberry

from resolvers.reads.meaning import ID_SQL, Text, told

NodeType = TypeVar("NodeType")


@strawberry.interface(description="Anything that has an id.")
class Node:
    """A thing that can be asked for again by its id."""

    id: strawberry.ID = told(Text(ID_SQL), "An opaque id, good for `node(id:)` and as an argument.")


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    """Computed beside the page, from the same rows."""

    has_next_page: bool = told(Text(), "Whether the list goes on behind this page.")
    has_previous_page: bool = told(Text(), "Whether the list has rows before this page.")
    start_cursor: str | None = told(Text(), "The cursor of the first row; null for an empty page.")
    end_cursor: str | None = told(Text(), "The cursor of the last row, for `after`; null for an empty page.")


@strawberry.type(description="A row of a list with its place in it.")
class Edge(Generic[NodeType]):
    """One row of a connection."""

    cursor: str = told(Text(), "The place of this row, good for `after` and `before` of the same list.")
    node: NodeType = told(Text(), "The row itself.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[NodeType]):
    """Keyset pages: stable while rows come and go."""

    edges: list[Edge[NodeType]] = told(Text(), "The rows with their cursors.")
    nodes: list[NodeType] = told(Text(), "The rows alone.")
    page_info: PageInfo = told(Text(), "Where this page lies.")
    total_count: int = told(Text(), "How many rows the whole list has; counted only when asked for.")
