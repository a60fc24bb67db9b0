"""`expand[]`: ids replaced by the objects they name."""

from collections.abc import Callable
from typing import Any

from local.sandbox.stripe.account import Account
from local.sandbox.stripe.catalogue import expanded_items
from local.sandbox.stripe.invoices import expanded_payments
from local.sandbox.stripe.wire import ApiError, envelope
from local.sandbox.world import Json

# A field that holds an id -> the kind of object it names.
KINDS = {
    "balance_transaction": "balance_transaction",
    "charge": "charge",
    "customer": "customer",
    "default_payment_method": "payment_method",
    "default_price": "price",
    "invoice": "invoice",
    "latest_charge": "charge",
    "latest_invoice": "invoice",
    "payment_intent": "payment_intent",
    "payment_link": "payment_link",
    "payment_method": "payment_method",
    "product": "product",
    "subscription": "subscription",
}


def refunds_of(account: Account, charge: Json) -> Json:
    """Charge -> the list it shows when `refunds` is expanded."""
    return envelope(account.newest_first("refund", charge=charge["id"]), f"/v1/charges/{charge['id']}/refunds")


# (object, field) that is absent until expanded -> what fills it.
LISTS: dict[tuple[str, str], Callable[[Account, Json], Json]] = {
    ("invoice", "payments"): expanded_payments,
    ("charge", "refunds"): refunds_of,
    ("payment_link", "line_items"): expanded_items,
    ("checkout.session", "line_items"): expanded_items,
}


def expand(account: Account, obj: Any, paths: list[str]) -> Any:
    """Object or list and paths as "data.customer" -> it, expanded; 400 for what cannot be."""
    for path in paths:
        if path.count(".") > 3:
            raise ApiError(400, f"You cannot expand more than 4 levels of a property. Property: {path}")
        _expand(account, obj, path.split("."), path)
    return obj


def _expand(account: Account, node: Any, path: list[str], whole: str) -> None:
    if isinstance(node, list):
        for one in node:
            _expand(account, one, path, whole)
        return
    if node is None or not path:
        return
    name, *rest = path
    if fill := LISTS.get((node.get("object", ""), name)):
        node.setdefault(name, fill(account, node))
    if name not in node:
        raise ApiError(400, f"This property cannot be expanded ({whole}).")
    if isinstance(node[name], str):
        if name not in KINDS:
            raise ApiError(400, f"This property cannot be expanded ({whole}).")
        node[name] = account.read(KINDS[name], node[name])
    _expand(account, node[name], rest, whole)
