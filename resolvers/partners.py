"""What jobs read for partners: the API's own plans and row rules, with the eyes of whoever set something up."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from models.ports import Caller, ExportPage
from models.rules.partners import SUBJECT, ExportKind, WebhookTopic
from resolvers.exports import signed_path
from resolvers.reads.ids import encode, split
from resolvers.reads.run import Reader
from resolvers.reads.walk import Walk, paths
from resolvers.viewer import Viewer

ROWS_A_PAGE = 1000
NOBODY = UUID(int=0)

# kind: (the root list, what is written of each row); the id comes first, it is where a page goes on
WRITTEN: dict[ExportKind, tuple[str, str]] = {
    ExportKind.USERS: (
        "users",
        "{ id firstName lastName email phone dateOfBirth state version createdAt updatedAt }",
    ),
    ExportKind.MEMBERSHIPS: (
        "memberships",
        "{ id user { id } type { id name } centre { id name } pricingOption { id name } status reason"
        " amount { amount currency } startsOn endsOn nextFeeOn version createdAt updatedAt }",
    ),
    ExportKind.INVOICES: (
        "invoices",
        "{ id number externalId user { id } membership { id } status amountPaid { amount currency }"
        " amountRefunded { amount } period { start end } billedOffAt createdAt updatedAt }",
    ),
}
assert WRITTEN.keys() == set(ExportKind)


class Reads:
    """PartnerReads, by a reader; `secret` is DUEFLOW_SECRET_KEY, which signs links."""

    def __init__(self, reader: Reader, secret: str) -> None:
        self._reader, self._secret = reader, secret

    async def told(self, topic: WebhookTopic, ids: Mapping[str, Any], caller: Caller) -> dict[str, str] | None:
        """The ids of an event as the API writes them; None where the caller may not see its object."""
        key = SUBJECT[topic]
        if not await self._reader.sees(_type_of(key), UUID(ids[key]), _viewer(caller)):
            return None
        return {
            _camel(name): encode(_type_of(name), UUID(value))
            for name, value in ids.items()
            if name.endswith("_id") and value is not None
        }

    def columns(self, kind: ExportKind) -> Sequence[str]:
        """What stands in an export's rows."""
        return paths(WRITTEN[kind][1])

    async def total(self, kind: ExportKind, narrowed: Mapping[str, Any], caller: Caller) -> int:
        """How many rows an export has. Raises BadInput."""
        return await self._walk(kind, narrowed, caller).total()

    async def page(
        self, kind: ExportKind, narrowed: Mapping[str, Any], caller: Caller, after: UUID | None
    ) -> ExportPage:
        """The next rows in the order of their ids. Raises BadInput."""
        lines = await self._walk(kind, narrowed, caller).page(after or NOBODY, ROWS_A_PAGE)
        last = split(orjson.loads(lines[-1])["id"])[1] if lines else None
        return ExportPage(lines, last, len(lines) == ROWS_A_PAGE)

    def link(self, file_id: UUID, until: datetime) -> str:
        """The path and query a file is fetched by until then."""
        return signed_path(self._secret, file_id, until)

    def _walk(self, kind: ExportKind, narrowed: Mapping[str, Any], caller: Caller) -> Walk:
        return Walk(self._reader, *WRITTEN[kind], narrowed, _viewer(caller))


def caller_of(viewer: Viewer) -> Caller:
    """Who asks, as it is kept for a job."""
    return Caller(viewer.role, viewer.user_id, viewer.key_id, viewer.scopes)


def _viewer(caller: Caller) -> Viewer:
    return Viewer(caller.role, caller.user_id, caller.key_id or NOBODY, "partner", caller.scopes)


def _type_of(key: str) -> str:
    return "".join(word.title() for word in key.removesuffix("_id").split("_"))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
