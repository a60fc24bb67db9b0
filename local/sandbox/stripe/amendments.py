"""Subscriptions as requests see them: created, changed with prorations, ended, listed."""

from local.sandbox.stripe import invoices, subscriptions
from local.sandbox.stripe.account import Account, merged
from local.sandbox.stripe.customers import DETAILS
from local.sandbox.stripe.reading import LIST, SEARCH, Routes, reader, searcher
from local.sandbox.stripe.wire import (
    ApiError,
    Parser,
    array,
    boolean,
    integer,
    mapping,
    missing,
    one_of,
    page,
    text,
    within,
)
from local.sandbox.world import Json

BEHAVIOURS = one_of("allow_incomplete", "error_if_incomplete", "default_incomplete")
PRORATIONS = one_of("create_prorations", "always_invoice", "none")


def update(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """Changed fields -> subscription; 400 once it has ended."""
    sub = account.read("subscription", id)
    if sub["status"] in subscriptions.ENDED:
        raise ApiError(400, "A canceled subscription can only update its cancellation_details and metadata.")
    proration = params.pop("proration_behavior", "create_prorations")
    changed = params.pop("items", None)
    fields = params | {"metadata": merged(sub["metadata"], params.get("metadata", {}))}
    if "pause_collection" in params:
        wanted = params["pause_collection"]
        fields["pause_collection"] = {"behavior": wanted["behavior"], "resumes_at": None} if wanted else None
    if "cancel_at_period_end" in params:
        fields |= _ending(account, sub, at_period_end=params["cancel_at_period_end"])
    if changed is not None:
        items = _changed_items(account, sub, changed, proration)
        fields["items"] = sub["items"] | {"data": items}
    account.change(sub, subscriptions.UPDATED, **fields)
    if changed is not None and proration == "always_invoice":
        _invoice_pending(account, sub)
    return account.read("subscription", id)


def _ending(account: Account, sub: Json, *, at_period_end: bool) -> Json:
    reason = "cancellation_requested" if at_period_end else None
    return {
        "cancel_at": sub["items"]["data"][0]["current_period_end"] if at_period_end else None,
        "canceled_at": account.now() if at_period_end else None,
        "cancellation_details": sub["cancellation_details"] | {"reason": reason},
    }


def _changed_items(account: Account, sub: Json, changed: list[Json], proration: str) -> list[Json]:
    items = [dict(item) for item in sub["items"]["data"]]
    for wanted in changed:
        item = next((one for one in items if one["id"] == wanted.get("id")), None)
        if item is None:
            raise missing("subscription_item", str(wanted.get("id")), "items[0][id]")
        old = dict(item)
        if "price" in wanted:
            item["price"] = account.read("price", wanted["price"], "items[0][price]")
        if "quantity" in wanted:
            item["quantity"] = integer(wanted["quantity"], "items[0][quantity]")
        if item["price"]["recurring"] != old["price"]["recurring"]:
            raise ApiError(400, "The sandbox changes prices within one billing interval only.", param="items[0][price]")
        if proration != "none":
            _prorate(account, sub, old, item)
    return items


def _prorate(account: Account, sub: Json, old: Json, new: Json) -> None:
    """Keep two lines for the next invoice: the unused time given back, the remaining time charged."""
    now, start, until = account.now(), new["current_period_start"], new["current_period_end"]
    for item, sign, word in ((old, -1, "Unused"), (new, 1, "Remaining")):
        whole = item["price"]["unit_amount"] * item["quantity"]
        amount = sign * ((2 * whole * (until - now) + until - start) // (2 * (until - start)))  # to the nearest unit
        line = subscriptions.line_for(account, sub, item, amount, period={"start": now, "end": until})
        details = line["parent"]["subscription_item_details"]
        details["proration"] = True
        if sign < 0:
            details["proration_details"] = {"credited_items": _credited(account, item)}
        line["description"] = f"{word} time on {line['description']}"
        account.world.put("stripe.pending_line", line["id"], line | {"of": sub["id"]})


def _credited(account: Account, item: Json) -> Json | None:
    """Subscription item -> the line that charged for the time given back, and its invoice."""
    charged = [
        line
        for line in account.world.all("stripe.line_item")
        if line["amount"] > 0 and line["parent"]["subscription_item_details"]["subscription_item"] == item["id"]
    ]
    return {"invoice": charged[-1]["invoice"], "invoice_line_items": [charged[-1]["id"]]} if charged else None


def _invoice_pending(account: Account, sub: Json) -> None:
    lines = subscriptions.pending(account, sub)
    if not lines:
        return
    now = account.now()
    invoice = invoices.draft(account, sub, "subscription_update", (now, now), lines)
    account.change(sub, subscriptions.UPDATED, latest_invoice=invoice["id"])
    invoices.finalise(account, invoice)
    if invoice["status"] == "open" and invoices.attempt(account, invoice):
        account.change(sub, subscriptions.UPDATED, status="past_due")


def cancel(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """-> the subscription, ended now; 404 when it has ended already, as the vendor."""
    sub = account.read("subscription", id)
    if sub["status"] in subscriptions.ENDED:
        raise missing("subscription", id)
    said = params.get("cancellation_details", {})
    sub["cancellation_details"] |= {name: said[name] for name in ("comment", "feedback") if name in said}
    return subscriptions.end(account, sub, "cancellation_requested")


def list_subscriptions(account: Account, params: Json) -> Json:
    """customer?, price?, status? ("all"; ended ones are hidden by default), created? -> page, newest first."""
    status = params.get("status")
    found = account.newest_first("subscription", customer=params.get("customer"))

    def wanted(sub: Json) -> bool:
        by_status = status == "all" or (sub["status"] == status if status else sub["status"] not in subscriptions.ENDED)
        by_price = params.get("price") in (None, *(item["price"]["id"] for item in sub["items"]["data"]))
        return by_status and by_price and within(sub["created"], params.get("created", {}))

    return page([sub for sub in found if wanted(sub)], params, "/v1/subscriptions")


SAID: dict[str, Parser] = DETAILS | {"cancel_at_period_end": boolean, "default_payment_method": text, "items": array}

# (method, path) -> handler, parameters, required ones
ROUTES: Routes = {
    ("POST", "/subscriptions"): (
        subscriptions.create,
        SAID
        | {"customer": text, "payment_behavior": BEHAVIOURS, "trial_period_days": integer, "off_session": boolean}
        | {"collection_method": one_of("charge_automatically")},
        ("customer", "items"),
    ),
    ("GET", "/subscriptions"): (
        list_subscriptions,
        LIST | {"customer": text, "price": text, "status": text},
        (),
    ),
    ("GET", "/subscriptions/search"): (searcher("subscription", "/v1/subscriptions/search"), SEARCH, ("query",)),
    ("GET", "/subscriptions/{id}"): (reader("subscription"), {}, ()),
    ("POST", "/subscriptions/{id}"): (
        update,
        SAID | {"proration_behavior": PRORATIONS, "pause_collection": mapping},
        (),
    ),
    ("DELETE", "/subscriptions/{id}"): (cancel, {"cancellation_details": mapping}, ()),
}
