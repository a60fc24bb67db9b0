"""Payment intents, charges and refunds."""

from local.sandbox.stripe.account import Account, merged
from local.sandbox.stripe.customers import DETAILS, PENDING_REFUND, resolve_method
from local.sandbox.stripe.reading import LIST, SEARCH, Routes, lister, reader, searcher, updater
from local.sandbox.stripe.wire import ApiError, Parser, array, boolean, integer, mapping, one_of, text
from local.sandbox.world import Json

OWN_CODE = {"expired_card", "incorrect_cvc", "processing_error", "authentication_required"}
SMALLEST = {"gbp": 30, "usd": 50, "eur": 50, "aud": 50, "nzd": 50, "cad": 50}
FEE_PER_MILLE, FEE_FIXED = 15, 20
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")

INTENT: dict[str, Parser] = DETAILS | {
    "customer": text,
    "payment_method": text,
    "payment_method_types": array,
    "setup_future_usage": text,
    "receipt_email": text,
    "statement_descriptor_suffix": text,
}
CONFIRMING: dict[str, Parser] = {"off_session": boolean, "return_url": text, "error_on_requires_action": boolean}

REASON = one_of("duplicate", "fraudulent", "requested_by_customer")
REFUND: dict[str, Parser] = {"payment_intent": text, "charge": text, "amount": integer, "reason": REASON}


# -- payment intents and charges ---------------------------------------------------------------------------------------


def create_intent(account: Account, params: Json) -> Json:
    """Amount, currency, customer?, payment_method?, confirm?, ... -> payment intent; 402 when confirmed in vain."""
    confirm = params.pop("confirm", False)
    confirming = {name: params.pop(name) for name in CONFIRMING if name in params}
    currency = str(params["currency"]).lower()
    if params["amount"] < SMALLEST.get(currency, 1):
        raise ApiError(400, "Amount is below the smallest possible charge", code="amount_too_small", param="amount")
    automatic = params.pop("automatic_payment_methods", None)
    fields = params | {"currency": currency, "metadata": merged({}, params.get("metadata", {}))}
    if automatic:
        fields["automatic_payment_methods"] = {"allow_redirects": "always"} | automatic | {"enabled": True}
    if params.get("customer"):
        account.read("customer", params["customer"], "customer")
    if params.get("payment_method"):
        fields["payment_method"] = _usable(account, params, params["payment_method"])["id"]
        fields["status"] = "requires_confirmation"
    intent = new_intent(account, fields)
    return confirm_intent(account, confirming, intent["id"]) if confirm else intent


def new_intent(account: Account, fields: Json) -> Json:
    """Checked fields -> a stored payment intent, announced."""
    intent = account.make("payment_intent", **fields)
    intent["client_secret"] = f"{intent['id']}_secret_sandbox"
    account.tell("payment_intent.created", account.save(intent))
    return intent


def confirm_intent(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """payment_method?, off_session? -> the succeeded payment intent; 402 card_error when the card is declined."""
    intent = account.read("payment_intent", id)
    if intent["status"] not in CONFIRMABLE:
        raise _unexpected_state(intent, "confirm")
    given = params.get("payment_method") or intent["payment_method"]
    if not given:
        message = "You cannot confirm this PaymentIntent because it's missing a payment method."
        raise ApiError(400, message, code="payment_intent_unexpected_state", payment_intent=intent)
    declined = collect(account, intent, _usable(account, intent, given))
    if declined:
        raise declined
    return intent


def cancel_intent(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """cancellation_reason? -> the canceled payment intent; 400 when it has succeeded."""
    intent = account.read("payment_intent", id)
    if intent["status"] not in CONFIRMABLE:
        raise _unexpected_state(intent, "cancel")
    reason = params.get("cancellation_reason")
    intent |= {"status": "canceled", "canceled_at": account.now(), "cancellation_reason": reason}
    account.tell("payment_intent.canceled", account.save(intent))
    return intent


def collect(account: Account, intent: Json, method: Json, decline: str | None = None) -> ApiError | None:
    """Charge the card for the intent, changing and announcing both -> None, or the card error when it is declined.

    `decline` refuses this one charge; else the card's own state decides.
    """
    known = account.world.get("stripe.decline", method["id"])
    code = decline or (known["decline_code"] if known else None)
    charge = _new_charge(account, intent, method, code)
    intent["latest_charge"] = charge["id"]
    if code is None:
        intent |= {"status": "succeeded", "amount_received": intent["amount"], "payment_method": method["id"]}
        intent["last_payment_error"] = None
        account.tell("charge.succeeded", charge)
        account.tell("payment_intent.succeeded", account.save(intent))
        return None
    said = {
        "advice_code": "do_not_try_again" if code == "expired_card" else "try_again_later",
        "charge": charge["id"],
        "code": charge["failure_code"],
        "decline_code": code,
        "doc_url": f"https://stripe.com/docs/error-codes/{charge['failure_code']}",
        "message": charge["failure_message"],
        "payment_method": method,
        "type": "card_error",
    }
    intent |= {"status": "requires_payment_method", "payment_method": None, "last_payment_error": said}
    account.tell("charge.failed", charge)
    account.tell("payment_intent.payment_failed", account.save(intent))
    fields = {name: value for name, value in said.items() if name not in ("message", "type")}
    return ApiError(402, charge["failure_message"], "card_error", payment_intent=intent, **fields)


def _new_charge(account: Account, intent: Json, method: Json, decline: str | None) -> Json:
    charge = account.fresh(
        "charge",
        **{name: intent[name] for name in ("amount", "currency", "customer", "description", "metadata")},
        payment_intent=intent["id"],
        payment_method=method["id"],
        billing_details=method["billing_details"],
        payment_method_details={"card": _charged_card(method), "type": "card"},
    )
    if decline:
        code = decline if decline in OWN_CODE else "card_declined"
        charge |= {"failure_code": code, "failure_message": "Your card was declined."}
        charge["outcome"] = _outcome("issuer_declined", decline, "declined_by_network")
    else:
        charge |= {"status": "succeeded", "paid": True, "captured": True, "amount_captured": charge["amount"]}
        charge["outcome"] = _outcome("authorized", None, "approved_by_network")
        fee = charge["amount"] * FEE_PER_MILLE // 1000 + FEE_FIXED
        charge["balance_transaction"] = _booked(account, charge, charge["amount"], fee, "charge")
    return account.save(charge)


def _charged_card(method: Json) -> Json:
    card = method["card"]
    kept = {name: card[name] for name in ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint")}
    return kept | {"funding": card["funding"], "last4": card["last4"], "network": "visa", "wallet": None}


def _outcome(kind: str, reason: str | None, network: str) -> Json:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": network,
        "reason": reason,
        "seller_message": "Payment complete." if reason is None else "The bank declined the payment.",
        "type": kind,
    }


def _booked(account: Account, source: Json, amount: int, fee: int, kind: str) -> str:
    said = [{"amount": fee, "application": None, "currency": source["currency"], "type": "stripe_fee"}] if fee else []
    booked = account.make(
        "balance_transaction",
        amount=amount,
        fee=fee,
        net=amount - fee,
        fee_details=[one | {"description": "Stripe processing fees"} for one in said],
        currency=source["currency"],
        source=source["id"],
        type=kind,
        reporting_category=kind,
        available_on=account.now() + 3 * 86400,
    )
    return str(booked["id"])


def _usable(account: Account, intent: Json, given: str) -> Json:
    method = resolve_method(account, given)
    owner, customer = method["customer"], intent.get("customer")
    if owner and owner != customer:
        message = f"The provided PaymentMethod does not belong to the Customer '{customer}'."
        raise ApiError(400, message, param="payment_method")
    return method


def _unexpected_state(intent: Json, verb: str) -> ApiError:
    message = f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}."
    return ApiError(400, message, code="payment_intent_unexpected_state", payment_intent=intent)


# -- refunds -----------------------------------------------------------------------------------------------------------


def create_refund(account: Account, params: Json) -> Json:
    """payment_intent or charge, amount? -> refund; 400 beyond what is left of the charge."""
    charge = _charge_to_refund(account, params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if left == 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise ApiError(400, message, code="charge_already_refunded")
    if not 0 < amount <= left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise ApiError(400, message, param="amount")
    refund = account.fresh(
        "refund",
        **{name: charge[name] for name in ("currency", "payment_intent", "payment_method", "customer")},
        amount=amount,
        charge=charge["id"],
        reason=params.get("reason"),
        metadata=merged({}, params.get("metadata", {})),
    )
    refund["balance_transaction"] = _booked(account, refund, -amount, 0, "refund")
    if charge["payment_method_details"]["card"]["last4"] == PENDING_REFUND:
        refund["status"] = "pending"
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    account.tell("refund.created", account.save(refund))
    previous = {"amount_refunded": charge["amount_refunded"] - amount}
    account.tell("charge.refunded", account.save(charge), previous)
    return refund


def end_refund(account: Account, refund: Json, reason: str | None = None) -> Json:
    """A pending refund arrives; or, for a reason, one that is pending or had succeeded fails: the money is ours again.

    ApiError for one that is over.
    """
    if refund["status"] != "pending" and (reason is None or refund["status"] != "succeeded"):
        raise ApiError(400, f"This refund is {refund['status']}.")
    before = {"status": refund["status"]}
    if reason is None:
        refund["status"] = "succeeded"
    else:
        charge = account.read("charge", refund["charge"])
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        account.save(charge)
        refund |= {"status": "failed", "failure_reason": reason}
        refund["failure_balance_transaction"] = _booked(account, refund, refund["amount"], 0, "refund_failure")
    account.tell("refund.updated", account.save(refund), before)
    if reason is not None:
        account.tell("refund.failed", refund)
    return refund


def _charge_to_refund(account: Account, params: Json) -> Json:
    if intent := params.get("payment_intent"):
        found = account.read("payment_intent", intent, "payment_intent")
        if found["status"] != "succeeded":
            raise ApiError(400, "This PaymentIntent does not have a successful charge to refund.")
        return account.read("charge", found["latest_charge"])
    if charge := params.get("charge"):
        return account.read("charge", charge, "charge")
    message = "One of the following params should be provided for this request: payment_intent or charge."
    raise ApiError(400, message, code="parameter_missing")


# (method, path) -> handler, parameters, required ones
ROUTES: Routes = {
    ("POST", "/payment_intents"): (
        create_intent,
        INTENT
        | CONFIRMING
        | {"amount": integer, "currency": text, "confirm": boolean, "automatic_payment_methods": mapping},
        ("amount", "currency"),
    ),
    ("GET", "/payment_intents"): (lister("payment_intent", "/v1/payment_intents"), LIST | {"customer": text}, ()),
    ("GET", "/payment_intents/search"): (
        searcher("payment_intent", "/v1/payment_intents/search"),
        SEARCH,
        ("query",),
    ),
    ("GET", "/payment_intents/{id}"): (reader("payment_intent"), {}, ()),
    ("POST", "/payment_intents/{id}"): (updater("payment_intent"), DETAILS | {"receipt_email": text}, ()),
    ("POST", "/payment_intents/{id}/confirm"): (confirm_intent, CONFIRMING | {"payment_method": text}, ()),
    ("POST", "/payment_intents/{id}/cancel"): (cancel_intent, {"cancellation_reason": text}, ()),
    ("GET", "/charges"): (lister("charge", "/v1/charges"), LIST | {"customer": text, "payment_intent": text}, ()),
    ("GET", "/charges/{id}"): (reader("charge"), {}, ()),
    ("GET", "/balance_transactions/{id}"): (reader("balance_transaction"), {}, ()),
    ("POST", "/refunds"): (create_refund, REFUND | {"metadata": mapping}, ()),
    ("GET", "/refunds"): (lister("refund", "/v1/refunds"), LIST | {"payment_intent": text, "charge": text}, ()),
    ("GET", "/refunds/{id}"): (reader("refund"), {}, ()),
    ("POST", "/refunds/{id}"): (updater("refund", "refund.updated"), {"metadata": mapping}, ()),
}
