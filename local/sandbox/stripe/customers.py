"""Customers and their cards."""

from local.sandbox.stripe.account import Account, merged
from local.sandbox.stripe.reading import LIST, SEARCH, Routes, lister, reader, searcher
from local.sandbox.stripe.wire import PAGING, ApiError, Parser, integer, mapping, one_of, page, text
from local.sandbox.world import Json

PENDING_REFUND = "7726"  # a refund to this card is pending until somebody says how it ends
# The vendor's test cards -> last four digits, why a charge of it is declined (None = it is not).
CARDS: dict[str, tuple[str, str | None]] = {
    "pm_card_visa": ("4242", None),
    "pm_card_gb": ("0000", None),
    "pm_card_chargeCustomerFail": ("0341", "generic_decline"),
    "pm_card_visa_chargeDeclined": ("0002", "generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("9995", "insufficient_funds"),
    "pm_card_chargeDeclinedExpiredCard": ("0069", "expired_card"),
    "pm_card_authenticationRequired": ("3184", "authentication_required"),
    "pm_card_pendingRefund": (PENDING_REFUND, None),
}
DETAILS: dict[str, Parser] = {"metadata": mapping, "description": text}
PERSON: dict[str, Parser] = DETAILS | {
    "email": text,
    "name": text,
    "phone": text,
    "address": mapping,
    "invoice_settings": mapping,
    "balance": integer,
}

# -- customers ---------------------------------------------------------------------------------------------------------


def create_customer(account: Account, params: Json) -> Json:
    """Email, name, ... , payment_method? -> customer; the card, if any, is attached."""
    method = params.pop("payment_method", None)
    settings = _settings(account, params)
    customer = account.make("customer", **params | settings | {"metadata": merged({}, params.get("metadata", {}))})
    customer["invoice_prefix"] = customer["id"][-10:].upper()
    account.tell("customer.created", account.save(customer))
    if method:
        attach_method(account, {"customer": customer["id"]}, id=method)
    return customer


def update_customer(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """Changed fields -> customer."""
    return account.update("customer", id, params | _settings(account, params), "customer.updated")


def delete_customer(account: Account, _params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """-> {"deleted": true}; a second time it is unknown."""
    customer = account.read("customer", id)
    account.world.delete("stripe.customer", id)
    account.tell("customer.deleted", customer)
    return {"id": id, "object": "customer", "deleted": True}


def _settings(account: Account, params: Json) -> Json:
    given = params.get("invoice_settings")
    if given is None:
        return {}
    method = given.get("default_payment_method") or None
    if method:
        account.read("payment_method", method, "invoice_settings[default_payment_method]")
    rest = {"custom_fields": None, "footer": None, "rendering_options": None}
    return {"invoice_settings": rest | {"default_payment_method": method}}


# -- cards -------------------------------------------------------------------------------------------------------------


def create_method(account: Account, params: Json) -> Json:
    """type=card, card[token]=tok_visa | tok_..., billing_details? -> payment method."""
    token = params.get("card", {}).get("token", "tok_visa")
    return _new_card(account, token.replace("tok_", "pm_card_", 1), params.get("billing_details", {}))


def resolve_method(account: Account, given: str, param: str = "payment_method") -> Json:
    """Payment method id, or the name of a test card (which makes a new one) -> payment method."""
    return _new_card(account, given, {}) if given in CARDS else account.read("payment_method", given, param)


def _new_card(account: Account, name: str, details: Json) -> Json:
    if name not in CARDS:
        raise ApiError(400, f"No such token: '{name}'", code="resource_missing", param="card[token]")
    last4, decline = CARDS[name]
    method = account.fresh("payment_method")
    method["card"]["last4"] = last4
    method["billing_details"] |= details
    if decline:
        account.world.put("stripe.decline", method["id"], {"decline_code": decline})
    return account.save(method)


def attach_method(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """customer -> the payment method, attached; 400 when it is another customer's."""
    customer = account.read("customer", params["customer"], "customer")["id"]
    method = resolve_method(account, id)
    if method["customer"] not in (None, customer):
        raise ApiError(400, "The payment method you provided has already been attached to a customer.")
    method["customer"] = customer
    account.tell("payment_method.attached", account.save(method))
    return method


def detach_method(account: Account, _params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """-> the payment method without a customer."""
    method = account.read("payment_method", id) | {"customer": None}
    account.tell("payment_method.detached", account.save(method))
    return method


def methods_of(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """Customer id -> list of its cards."""
    account.read("customer", id)
    url = f"/v1/customers/{id}/payment_methods"
    return page(account.newest_first("payment_method", customer=id, type=params.get("type")), params, url)


# (method, path) -> handler, parameters, required ones
ROUTES: Routes = {
    ("POST", "/customers"): (create_customer, PERSON | {"payment_method": text}, ()),
    ("GET", "/customers"): (lister("customer", "/v1/customers"), LIST | {"email": text}, ()),
    ("GET", "/customers/search"): (searcher("customer", "/v1/customers/search"), SEARCH, ("query",)),
    ("GET", "/customers/{id}"): (reader("customer"), {}, ()),
    ("POST", "/customers/{id}"): (update_customer, PERSON, ()),
    ("DELETE", "/customers/{id}"): (delete_customer, {}, ()),
    ("GET", "/customers/{id}/payment_methods"): (methods_of, PAGING | {"type": text}, ()),
    ("POST", "/payment_methods"): (
        create_method,
        {"type": one_of("card"), "card": mapping, "billing_details": mapping},
        ("type",),
    ),
    ("GET", "/payment_methods"): (
        lister("payment_method", "/v1/payment_methods"),
        PAGING | {"customer": text, "type": text},
        (),
    ),
    ("GET", "/payment_methods/{id}"): (reader("payment_method"), {}, ()),
    ("POST", "/payment_methods/{id}/attach"): (attach_method, {"customer": text}, ("customer",)),
    ("POST", "/payment_methods/{id}/detach"): (detach_method, {}, ()),
}
