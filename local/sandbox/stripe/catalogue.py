"""Products, prices, payment links and the checkout sessions that come of them."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local.sandbox.stripe import subscriptions
from local.sandbox.stripe.account import Account, merged
from local.sandbox.stripe.customers import DETAILS, attach_method, create_customer
from local.sandbox.stripe.payments import collect, new_intent
from local.sandbox.stripe.reading import LIST, Routes, lister, reader, updater
from local.sandbox.stripe.shapes import ADDRESS
from local.sandbox.stripe.wire import PAGING, ApiError, Parser, array, boolean, envelope, integer, mapping, page, text
from local.sandbox.world import Json

INTERVALS = ("day", "week", "month", "year")
REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,200}")
SESSION_LIVES = 86_400


def create_product(account: Account, params: Json) -> Json:
    """name, ..., default_price_data? -> product."""
    data = params.pop("default_price_data", None)
    params["metadata"] = merged({}, params.get("metadata", {}))
    product = account.make("product", **params, updated=account.now())
    if data:
        price = _new_price(account, product["id"], data["currency"], integer(data["unit_amount"], "unit_amount"), data)
        account.save(product | {"default_price": price["id"]})
    product = account.read("product", product["id"])
    account.tell("product.created", product)
    return product


def create_price(account: Account, params: Json) -> Json:
    """currency, unit_amount, product or product_data, recurring? -> price."""
    if data := params.pop("product_data", None):
        product = create_product(account, {"name": data["name"], "metadata": data.get("metadata", {})})["id"]
    elif given := params.pop("product", None):
        product = account.read("product", given, "product")["id"]
    else:
        raise ApiError(400, "You must specify either `product` or `product_data` when creating a price.")
    return _new_price(account, product, params.pop("currency"), params.pop("unit_amount"), params)


def _new_price(account: Account, product: str, currency: str, amount: int, rest: Json) -> Json:
    fields: Json = {name: rest[name] for name in ("nickname", "lookup_key", "active") if name in rest}
    if every := rest.get("recurring"):
        if every.get("interval") not in INTERVALS:
            raise ApiError(400, f"Invalid recurring[interval]: {every.get('interval')}", param="recurring[interval]")
        count = integer(str(every.get("interval_count", "1")), "recurring[interval_count]")
        fields["recurring"] = {
            "interval": every["interval"],
            "interval_count": count,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        }
    price = account.make(
        "price",
        **fields,
        currency=currency.lower(),
        product=product,
        type="recurring" if every else "one_time",
        unit_amount=amount,
        unit_amount_decimal=str(amount),
        metadata=merged({}, rest.get("metadata", {})),
    )
    account.tell("price.created", price)
    return price


# -- payment links -----------------------------------------------------------------------------------------------------


def create_link(account: Account, params: Json) -> Json:
    """line_items[{price, quantity}], metadata?, subscription_data? -> payment link with its public URL."""
    items = params.pop("line_items")
    prices = [account.read("price", item.get("price", ""), "line_items[0][price]") for item in items]
    recurring = any(price["type"] == "recurring" for price in prices)
    said = params.pop("subscription_data", None)
    link = account.fresh("payment_link", currency=prices[0]["currency"])
    link["metadata"] = merged({}, params.get("metadata", {}))
    link["url"] = f"{account.host}/pay/{link['id']}"
    if recurring:
        link["subscription_data"] = {
            "description": (said or {}).get("description"),
            "invoice_settings": {"issuer": {"type": "self"}},
            "metadata": merged({}, (said or {}).get("metadata", {})),
            "trial_period_days": int(said["trial_period_days"]) if said and "trial_period_days" in said else None,
            "trial_settings": None,
        }
    elif said:
        raise ApiError(400, "`subscription_data` is only for recurring prices.", param="subscription_data")
    if after := params.get("after_completion"):
        blank = {"hosted_confirmation": None} if after["type"] == "redirect" else {}
        link["after_completion"] = blank | after
    bought = [_line_item(account, price, item) for price, item in zip(prices, items, strict=True)]
    account.world.put("stripe.link_items", link["id"], {"data": bought})
    account.tell("payment_link.created", account.save(link))
    return link


def _line_item(account: Account, price: Json, wanted: Json) -> Json:
    quantity = integer(str(wanted.get("quantity", "1")), "line_items[0][quantity]")
    total = price["unit_amount"] * quantity
    return {
        "id": account.world.new_id("li_"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": price["currency"],
        "description": account.read("product", price["product"])["name"],
        "price": price,
        "quantity": quantity,
    }


def items_of(kind: str, path: str) -> Any:
    """Object name and path -> the handler that lists what a link or session sells."""

    def items(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
        obj = account.read(kind, id)
        return page(bought_by(account, obj), params, f"/v1/{path}/{id}/line_items")

    return items


def bought_by(account: Account, obj: Json) -> list[Json]:
    """Payment link or checkout session -> its line items."""
    found = account.world.get(
        "stripe.link_items", obj["id"] if obj["object"] == "payment_link" else obj["payment_link"]
    )
    return list(found["data"]) if found else []


def expanded_items(account: Account, obj: Json) -> Json:
    """Payment link or checkout session -> the list it shows when `line_items` is expanded."""
    return envelope(bought_by(account, obj), f"/v1/{obj['object']}s/{obj['id']}/line_items")


def link_at(account: Account, given: str) -> tuple[Json, Json]:
    """Payment link id or its URL with a query -> (link, {"client_reference_id", "prefilled_email"} as far as given)."""
    url = urlsplit(given)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    return account.read("payment_link", url.path.rsplit("/", 1)[-1], "payment_link"), query


# -- checkout ----------------------------------------------------------------------------------------------------------


def complete(account: Account, link: Json, email: str, name: str, reference: str | None, metadata: Json) -> Json:
    """Somebody pays by the link -> the completed checkout session; ApiError when the link is closed.

    An ill-formed `reference` is dropped without a word, as the vendor does.
    """
    if not link["active"]:
        raise ApiError(400, "This payment link is no longer active.")
    customer = create_customer(account, {"email": email, "name": name})
    method = attach_method(account, {"customer": customer["id"]}, id="pm_card_visa")
    items = bought_by(account, link)
    total = sum(item["amount_total"] for item in items)
    session = account.fresh(
        "checkout.session",
        amount_subtotal=total,
        amount_total=total,
        client_reference_id=reference if reference and REFERENCE.fullmatch(reference) else None,
        currency=link["currency"],
        customer=customer["id"],
        customer_details=_details(email, name),
        expires_at=account.now() + SESSION_LIVES,
        metadata=link["metadata"] | metadata,
        payment_link=link["id"],
        status="complete",
        mode="subscription" if link["subscription_data"] else "payment",
    )
    if link["subscription_data"]:
        _subscribe(account, session, link["subscription_data"], metadata, items, method)
    else:
        _pay_once(account, session, method)
    account.tell("checkout.session.completed", account.save(session))
    return session


def _details(email: str, name: str) -> Json:
    address = ADDRESS | {"country": "GB"}
    blank: Json = dict.fromkeys(("business_name", "individual_name", "phone"))
    return blank | {"address": address, "email": email, "name": name, "tax_exempt": "none", "tax_ids": []}


def _subscribe(account: Account, session: Json, said: Json, metadata: Json, items: list[Json], method: Json) -> None:
    params: Json = {
        "customer": session["customer"],
        "default_payment_method": method["id"],
        "items": [{"price": item["price"]["id"], "quantity": str(item["quantity"])} for item in items],
        "metadata": said["metadata"] | metadata,
    }
    if said["trial_period_days"]:
        params["trial_period_days"] = said["trial_period_days"]
    sub = subscriptions.create(account, params)
    session |= {"subscription": sub["id"], "invoice": sub["latest_invoice"], "payment_status": "paid"}


def _pay_once(account: Account, session: Json, method: Json) -> None:
    fields = {"amount": session["amount_total"], "currency": session["currency"], "customer": session["customer"]}
    intent = new_intent(account, fields)
    if declined := collect(account, intent, method):
        raise declined
    session |= {"payment_intent": intent["id"], "payment_status": "paid"}


SOLD: dict[str, Parser] = {"name": text, "active": boolean, "url": text} | DETAILS
PRICED: dict[str, Parser] = {"nickname": text, "active": boolean, "lookup_key": text, "metadata": mapping}
LINK: dict[str, Parser] = {"metadata": mapping, "after_completion": mapping}
SESSION: dict[str, Parser] = dict.fromkeys(
    ("customer", "payment_link", "subscription", "payment_intent", "status"), text
)

# (method, path) -> handler, parameters, required ones
ROUTES: Routes = {
    ("POST", "/products"): (create_product, SOLD | {"default_price_data": mapping}, ("name",)),
    ("GET", "/products"): (lister("product", "/v1/products"), LIST | {"active": boolean}, ()),
    ("GET", "/products/{id}"): (reader("product"), {}, ()),
    ("POST", "/products/{id}"): (updater("product", "product.updated"), SOLD | {"default_price": text}, ()),
    ("POST", "/prices"): (
        create_price,
        PRICED
        | {"currency": text, "unit_amount": integer}
        | {"product": text, "product_data": mapping, "recurring": mapping},
        ("currency", "unit_amount"),
    ),
    ("GET", "/prices"): (
        lister("price", "/v1/prices"),
        LIST | {"product": text, "active": boolean, "type": text, "currency": text},
        (),
    ),
    ("GET", "/prices/{id}"): (reader("price"), {}, ()),
    ("POST", "/prices/{id}"): (updater("price", "price.updated"), PRICED, ()),
    ("POST", "/payment_links"): (
        create_link,
        LINK | {"line_items": array, "subscription_data": mapping},
        ("line_items",),
    ),
    ("GET", "/payment_links"): (
        lister("payment_link", "/v1/payment_links"),
        PAGING | {"active": boolean},
        (),
    ),
    ("GET", "/payment_links/{id}"): (reader("payment_link"), {}, ()),
    ("POST", "/payment_links/{id}"): (
        updater("payment_link", "payment_link.updated"),
        {"metadata": mapping, "active": boolean},
        (),
    ),
    ("GET", "/payment_links/{id}/line_items"): (items_of("payment_link", "payment_links"), PAGING, ()),
    ("GET", "/checkout/sessions"): (lister("checkout.session", "/v1/checkout/sessions"), LIST | SESSION, ()),
    ("GET", "/checkout/sessions/{id}"): (reader("checkout.session"), {}, ()),
    ("GET", "/checkout/sessions/{id}/line_items"): (items_of("checkout.session", "checkout/sessions"), PAGING, ()),
}
