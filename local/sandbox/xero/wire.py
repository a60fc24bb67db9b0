"""Xero's wire: decimals as exact JSON numbers, /Date(ms)/ dates, JSON or XML answers, batches with partial success.

Amounts are kept as strings ("33.34"); they become JSON numbers only when written, so no float ever holds money.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree

import orjson

from local.sandbox.world import Json, World

CENT = Decimal("0.01")
PROVIDER_NAME = "Dueflow sandbox"
NUMBERS = {
    "SubTotal", "TotalTax", "Total", "AmountDue", "AmountPaid", "AmountCredited", "UnitAmount", "TaxAmount",
    "LineAmount", "Quantity", "DiscountRate", "Amount", "CurrencyRate",
}  # fmt: skip
WHERE = re.compile(r'^\s*([A-Za-z.]+)\s*==\s*(?:"([^"]*)"|[gG]uid\("([^"]*)"\))\s*$')


class RefusedError(Exception):
    """An object breaks Xero's rules: one sentence per broken rule."""

    def __init__(self, *messages: str) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


class BadRequestError(Exception):
    """The request as a whole cannot be read; answered 400."""


@dataclass(frozen=True)
class Reply:
    """HTTP status and document; a document that is a string is sent as plain text."""

    status: int
    document: Json | str


@dataclass(frozen=True)
class Call:
    """One call that passed the gate."""

    world: World
    tenant_id: str
    query: dict[str, str]
    body: Any
    id: str = ""
    modified_since: datetime | None = None
    content_type: str = field(default="application/json")

    def listed(self, name: str) -> set[str]:
        """A comma separated query parameter -> its parts."""
        return {part for part in self.query.get(name, "").split(",") if part}


def batch(call: Call, plural: str, apply: Callable[[Json], Json], flag: str) -> Reply:
    """Apply each object of the body on its own -> the reply to the list.

    summarizeErrors=false: 200 with every object and its StatusAttributeString. Otherwise one bad object makes the
    answer a 400 that lists the bad ones only, while the good ones are kept all the same.
    """
    good, all_of_them, bad = [], [], []
    for given in elements(call.body, plural):
        try:
            done = apply(given)
        except RefusedError as refused:
            sentences = [{"Message": message} for message in refused.messages]
            failed = {**given, flag: True, "StatusAttributeString": "ERROR", "ValidationErrors": sentences}
            bad.append(failed)
            all_of_them.append(failed)
        else:
            good.append(done)
            all_of_them.append({**done, "StatusAttributeString": "OK"})
    if call.query.get("summarizeErrors", "true").lower() == "false":
        return wrapped(call, plural, all_of_them)
    if not bad:
        return wrapped(call, plural, good)
    listed = [{name: value for name, value in one.items() if name != "StatusAttributeString"} for one in bad]
    message = "A validation exception occurred"
    return Reply(400, {"ErrorNumber": 10, "Type": "ValidationException", "Message": message, "Elements": listed})


def elements(body: Any, plural: str) -> list[Json]:
    """{"Invoices": [..]}, a bare list or one bare object -> the objects."""
    found = body.get(plural, [body]) if isinstance(body, dict) else body
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise BadRequestError(f"The request body must hold {plural}.")
    return found


def wrapped(call: Call, plural: str, objects: list[Json], **more: Any) -> Reply:
    """Objects -> 200 with Xero's wrapper."""
    head = {
        "Id": new_id(call.world),
        "Status": "OK",
        "ProviderName": PROVIDER_NAME,
        "DateTimeUTC": instant(call.world.now()).replace("+0000", ""),
    }
    return Reply(200, {**head, **more, plural: objects})


def paged(call: Call, plural: str, objects: list[Json]) -> Reply:
    """Objects -> the wanted page of them (all without `page`), after `where`, IDs and If-Modified-Since."""
    kept = [one for one in objects if _fits(one, call.query.get("where", "")) and _recent(one, call.modified_since)]
    if "page" not in call.query:
        return wrapped(call, plural, kept)
    page, size = int(call.query["page"]), min(1000, int(call.query.get("pageSize", "100")))
    pages = {"page": page, "pageSize": size, "pageCount": -(-len(kept) // size), "itemCount": len(kept)}
    return wrapped(call, plural, kept[(page - 1) * size : page * size], pagination=pages)


def not_found() -> Reply:
    """-> Xero's 404, a plain sentence."""
    return Reply(404, "The resource you're looking for cannot be found")


def problem(status: int, title: str, detail: str) -> Json:
    """Status, title, detail -> the error document of gateway refusals."""
    return {"Type": None, "Title": title, "Status": status, "Detail": detail, "Instance": None, "Extensions": {}}


def _fits(one: Json, where: str) -> bool:
    for term in re.split(r"\s+AND\s+|\s*&&\s*", where) if where else ():
        found = WHERE.match(term)
        if not found:
            raise BadRequestError(f"QueryParseException: {term}")
        value: Any = one
        for step in found[1].split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value != (found[2] if found[2] is not None else found[3]):
            return False
    return True


def _recent(one: Json, since: datetime | None) -> bool:
    return since is None or int(one["UpdatedDateUTC"][6:-7]) >= since.timestamp() * 1000


# -- values ----------------------------------------------------------------------------------------------------------


def new_id(world: World) -> str:
    """-> a new GUID."""
    return str(uuid5(NAMESPACE_URL, world.new_id("xero")))


def instant(at: datetime) -> str:
    """Aware instant -> "/Date(1767571200000+0000)/"."""
    return f"/Date({int(at.timestamp() * 1000)}+0000)/"


def day(given: Any, name: str) -> date:
    """ "2026-01-05", with or without a time, or /Date(ms)/ -> the date; RefusedError when it is none."""
    text = str(given)
    if found := re.match(r"^/Date\((-?\d+)", text):
        return datetime.fromtimestamp(int(found[1]) // 1000, UTC).date()
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise RefusedError(f"{name} is not a valid date") from None


def dated(name: str, on: date) -> Json:
    """("Date", day) -> the field in both of Xero's spellings."""
    midnight = datetime(on.year, on.month, on.day, tzinfo=UTC)
    return {name: instant(midnight), f"{name}String": midnight.strftime("%Y-%m-%dT%H:%M:%S")}


def number(given: Any, name: str) -> Decimal:
    """A JSON number (or numeric string) -> Decimal; RefusedError when it is none."""
    try:
        value = Decimal(str(given))
    except InvalidOperation:
        raise RefusedError(f"{name} is not a valid number") from None
    if not value.is_finite():
        raise RefusedError(f"{name} is not a valid number")
    return value


def rounded(value: Decimal, step: Decimal = CENT) -> Decimal:
    """Decimal -> the nearest cent (or `step`), halves away from zero."""
    return value.quantize(step, ROUND_HALF_UP)


def load(body: bytes) -> Any:
    """Request body -> its JSON with exact numbers; BadRequestError when it is none."""
    try:
        return json.loads(body, parse_float=Decimal, parse_int=Decimal) if body else None
    except ValueError:
        raise BadRequestError("The request body is not valid JSON.") from None


def dump(document: Json | str, accept: str) -> tuple[bytes, str]:
    """Document and Accept header -> body and content type; XML unless JSON was asked for, as Xero does."""
    if isinstance(document, str):
        return document.encode(), "text/plain; charset=utf-8"
    if "json" in accept:
        return orjson.dumps(_exact(document)), "application/json; charset=utf-8"
    root = ElementTree.Element("ApiException" if "ErrorNumber" in document else "Response")
    _xml(root, document)
    return ElementTree.tostring(root), "text/xml; charset=utf-8"


def _exact(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _exact(below, key) for key, below in value.items()}
    if isinstance(value, list):
        return [_exact(below) for below in value]
    if isinstance(value, Decimal) or (name in NUMBERS and isinstance(value, str) and _is_number(value)):
        return orjson.Fragment(f"{Decimal(value):f}".encode())
    return value


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def _xml(parent: ElementTree.Element, value: Any) -> None:
    if isinstance(value, dict):
        for name, below in value.items():
            if below is not None:
                _xml(ElementTree.SubElement(parent, name), below)
    elif isinstance(value, list):
        for below in value:
            _xml(ElementTree.SubElement(parent, parent.tag.removesuffix("s")), below)
    else:
        parent.text = str(value).lower() if isinstance(value, bool) else str(value)
