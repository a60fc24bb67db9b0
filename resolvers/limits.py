"""How much one request may hold, and one caller may spend: settings, `DUEFLOW_LIMITS` and `DUEFLOW_RATE`."""

from dataclasses import dataclass, fields

BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken of one request.

    `body_bytes` of HTTP; `document_characters`, `tokens` and `comments` of a document; of each of its operations, with
    fragments written out, `depth`, `aliases`, `directives`, `root_fields` and `nodes` (selections); `page` rows a page;
    `cost` points and `seconds` an operation; `operations` at once on one socket, `streams` of one caller in a
    process. Raises ValueError.
    """

    body_bytes: int = BODY_BYTES
    document_characters: int = 50_000
    tokens: int = 2_000
    comments: int = 200
    depth: int = 16
    aliases: int = 30
    directives: int = 50
    root_fields: int = 20
    nodes: int = 10_000
    page: int = 100
    cost: int = 20_000
    seconds: float = 10.0
    operations: int = 100
    streams: int = 500

    def __post_init__(self) -> None:
        if wrong := [each.name for each in fields(self) if getattr(self, each.name) <= 0]:
            raise ValueError(f"A limit is more than nothing: {', '.join(wrong)}.")
        if self.page > 100:
            raise ValueError("The schema promises pages of at most 100 rows.")


@dataclass(frozen=True, slots=True)
class Rate:
    """What one caller may spend: `burst` points at once, `per_second` coming back. Raises ValueError."""

    burst: int = 100_000
    per_second: int = 10_000

    def __post_init__(self) -> None:
        if min(self.burst, self.per_second) <= 0:
            raise ValueError("A rate is more than nothing.")


LIMITS = Limits()
RATE = Rate()
