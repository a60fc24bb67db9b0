"""Payments, payouts and refunds: created, moved by the banks, taken back."""

from datetime import date
from typing import Any

from local.sandbox.gocardless import bacs
from local.sandbox.gocardless.account import CREDITOR, Account
from local.sandbox.gocardless.people import USABLE, next_charge_date
from local.sandbox.gocardless.wire import (
    CURRENCIES,
    ApiError,
    check_metadata,
    checked,
    day,
    invalid,
    positive,
    state_error,
)
from local.sandbox.world import Json

PAYMENT = ("amount", "currency", "charge_date", "description", "links", "metadata", "reference", "retry_if_possible")
REFUND = ("amount", "links", "metadata", "reference", "total_amount_confirmation")
RETRIES, REFUNDS = 3, 5
FEE_PER_MILLE, FEE_FIXED = 10, 20

# status -> action of the event that says so, origin, cause, when nobody names another
PAYMENT_MOVES = {
    "submitted": ("submitted", "gocardless", "payment_submitted"),
    "confirmed": ("confirmed", "gocardless", "payment_confirmed"),
    "paid_out": ("paid_out", "gocardless", "payment_paid_out"),
    "failed": ("failed", "bank", "refer_to_payer"),
    "charged_back": ("charged_back", "bank", "authorisation_disputed"),
    "cancelled": ("cancelled", "api", "payment_cancelled"),
}
# status of a refund -> the statuses it comes from, action and cause of the event that says so
REFUND_MOVES = {
    "paid": (("submitted",), "paid", "refund_paid"),
    "bounced": (("submitted", "paid"), "failed", "refund_failed"),
    "funds_returned": (("bounced",), "funds_returned", "refund_funds_returned"),
}
# where a payment is to end -> from each status, the next one on the way
WAYS = {
    "submitted": {"pending_submission": "submitted"},
    "confirmed": {"pending_submission": "submitted", "submitted": "confirmed"},
    "paid_out": {"pending_submission": "submitted", "submitted": "confirmed", "confirmed": "paid_out"},
    "failed": {
        "pending_submission": "submitted",
        "submitted": "failed",
        "confirmed": "failed",  # a late failure
        "paid_out": "failed",
    },
    "charged_back": {
        "pending_submission": "submitted",
        "submitted": "confirmed",
        "confirmed": "charged_back",
        "paid_out": "charged_back",
    },
}


def create(account: Account, body: Json) -> Json:
    """amount, currency, links.mandate, charge_date?, ... -> payment pending submission."""
    checked("payments", body, PAYMENT, ["amount", "currency", "links.mandate"])
    amount = positive("payments", "amount", body["amount"])
    if body["currency"] not in CURRENCIES:
        raise invalid("payments", "currency", f"must be one of {', '.join(CURRENCIES)}")
    mandate = account.world.get("gocardless.mandates", body["links"]["mandate"])
    if mandate is None:
        raise invalid("payments", "links.mandate", "does not exist")
    if mandate["status"] not in USABLE:
        raise state_error("mandate_is_inactive", "Mandate is not active", links={"mandate": mandate["id"]})
    if body["currency"] != "GBP":
        raise invalid("payments", "currency", "is not the currency of the mandate's scheme")
    made = account.make(
        "payments",
        amount=amount,
        amount_refunded=0,
        app_fee=None,
        charge_date=_charge_date(account, mandate, body.get("charge_date")).isoformat(),
        currency=body["currency"],
        description=body.get("description"),
        faster_ach=False,
        fx={"estimated_exchange_rate": None, "exchange_rate": None, "fx_amount": None, "fx_currency": body["currency"]},
        links={"creditor": CREDITOR, "mandate": mandate["id"]},
        metadata=body.get("metadata") or {},
        reference=body.get("reference"),
        retry_if_possible=bool(body.get("retry_if_possible", False)),
        scheme=mandate["scheme"],
        status="pending_submission",
    )
    account.tell("payments", made, "created", "api", "payment_created")
    return made


def _charge_date(account: Account, mandate: Json, wanted: str | None) -> date:
    soonest = next_charge_date(account, mandate)
    if soonest is None:
        raise state_error("mandate_is_inactive", "Mandate is not active")
    if wanted is None:
        return soonest
    given = day("payments", "charge_date", wanted)
    if given < soonest:
        message = f"must be on or after mandate's next_possible_charge_date ({soonest})"
        raise invalid("payments", "charge_date", message)
    return bacs.rolled(given)


def update(account: Account, body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """metadata?, retry_if_possible? -> payment."""
    payment = account.read("payments", id)
    return account.save("payments", payment | checked("payments", body, ["metadata", "retry_if_possible"]))


def cancel(account: Account, body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """metadata? -> the cancelled payment; 422 cancellation_failed once it has been submitted."""
    payment = account.read("payments", id)
    if payment["status"] != "pending_submission":
        raise state_error("cancellation_failed", f"Payment is {payment['status']} and cannot be cancelled")
    metadata = body.get("metadata") or {}
    check_metadata("payments", metadata)
    return move(account, payment, "cancelled", metadata=metadata)


def retry(account: Account, body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """charge_date?, metadata? -> the payment, pending submission again; 422 retry_failed unless it has failed."""
    checked("payments", body, ["charge_date", "metadata"])
    payment = account.read("payments", id)
    mandate = account.read("mandates", payment["links"]["mandate"])
    tries = (account.world.get("gocardless.retries", id) or {"count": 0})["count"]
    if payment["status"] != "failed":
        raise state_error("retry_failed", "Only a failed payment can be retried")
    if mandate["status"] != "active":
        raise state_error("mandate_is_inactive", "Mandate is not active", links={"mandate": mandate["id"]})
    if tries >= RETRIES:
        raise state_error("retry_failed", f"A payment can be retried {RETRIES} times")
    wanted = _charge_date(account, mandate, body.get("charge_date"))
    account.world.put("gocardless.retries", id, {"count": tries + 1})
    return resubmit(account, payment, wanted, "api", "payment_retried", body.get("metadata") or {})


def resubmit(account: Account, payment: Json, charge: date, origin: str, cause: str, metadata: Json) -> Json:
    """Failed payment and its new charge date -> the same payment, pending submission again."""
    payment |= {"status": "pending_submission", "charge_date": charge.isoformat()}
    account.save("payments", payment)
    account.tell("payments", payment, "resubmission_requested", origin, cause, metadata=metadata)
    return payment


# -- what the banks do -------------------------------------------------------------------------------------------------


def move(account: Account, payment: Json, status: str, **said: Any) -> Json:
    """Give the payment a new status and announce it; `said` may name another origin, cause, or more details."""
    action, origin, cause = PAYMENT_MOVES[status]
    origin, cause = said.pop("origin", origin), said.pop("cause", cause)
    payment["status"] = status
    if status == "paid_out":
        payment["links"]["payout"] = _pay_out(account, payment)
    if status == "failed":
        said.setdefault("will_attempt_retry", False)
    account.tell("payments", account.save("payments", payment), action, origin, cause, **said)
    return payment


def cancel_chargeback(account: Account, payment: Json) -> Json:
    """The payer's bank takes its chargeback back: the payment is as it was, paid out where it had been."""
    if payment["status"] != "charged_back":
        raise state_error("invalid_payment_state", f"A payment that is {payment['status']} has no chargeback")
    payment["status"] = "paid_out" if "payout" in payment["links"] else "confirmed"
    account.save("payments", payment)
    account.tell("payments", payment, "chargeback_cancelled", "bank", "payment_confirmed")
    return payment


def walk(account: Account, payment: Json, to: str, **said: Any) -> Json:
    """Move the payment step by step until it is `to`, saying `said` of the last step; 422 when no way leads there."""
    while True:
        step = WAYS[to].get(payment["status"])
        if step is None:
            raise state_error("invalid_payment_state", f"A payment that is {payment['status']} cannot become {to}")
        move(account, payment, step, **(said if step == to else {}))
        if step == to:
            return payment


def _pay_out(account: Account, payment: Json) -> str:
    fee = payment["amount"] * FEE_PER_MILLE // 1000 + FEE_FIXED
    today = account.now().date().isoformat()
    links = {"creditor": CREDITOR, "creditor_bank_account": "BA000000"}
    payout = account.make(
        "payouts",
        amount=payment["amount"] - fee,
        arrival_date=today,
        currency=payment["currency"],
        deducted_fees=fee,
        fx=payment["fx"],
        links=links,
        metadata={},
        payout_type="merchant",
        reference="DUEFLOW",
        status="paid",
        tax_currency=payment["currency"],
    )
    of = {"payment": payment["id"], "mandate": payment["links"]["mandate"], "payout": payout["id"]}
    for kind, amount in (("payment_paid_out", payment["amount"]), ("gocardless_fee", -fee)):
        account.make("payout_items", amount=f"{amount}.0", type=kind, links=of, taxes=[])
    account.tell("payouts", payout, "paid", "gocardless", "payout_paid")
    return str(payout["id"])


# -- refunds -----------------------------------------------------------------------------------------------------------


def create_refund(account: Account, body: Json) -> Json:
    """amount, total_amount_confirmation, links.payment -> refund; the confirmation is what is refunded after it."""
    checked("refunds", body, REFUND, ["amount", "links.payment", "total_amount_confirmation"])
    amount = positive("refunds", "amount", body["amount"])
    payment = account.read("payments", body["links"]["payment"])
    total = payment["amount_refunded"] + amount
    if refusal := _refund_refused(account, payment, total, body["total_amount_confirmation"]):
        raise refusal
    account.save("payments", payment | {"amount_refunded": total})
    made = account.make(
        "refunds",
        amount=amount,
        currency=payment["currency"],
        fx=payment["fx"],
        links={"payment": payment["id"], "mandate": payment["links"]["mandate"]},
        metadata=body.get("metadata") or {},
        reference=body.get("reference"),
        status="submitted",
    )
    account.tell("refunds", made, "created", "api", "refund_created")
    return made


def _refund_refused(account: Account, payment: Json, total: int, confirmation: int) -> ApiError | None:
    if payment["status"] not in ("confirmed", "paid_out"):
        return state_error("refund_payment_invalid_state", f"A payment that is {payment['status']} cannot be refunded")
    if total > payment["amount"]:
        return invalid("refunds", "amount", "is more than is left of the payment")
    if confirmation != total:
        return state_error("total_amount_confirmation_invalid", f"The total refunded would be {total}")
    earlier = [one for one in account.newest_first("refunds") if one["links"]["payment"] == payment["id"]]
    if len(earlier) >= REFUNDS:
        return state_error("number_of_refunds_exceeded", f"A payment can be refunded {REFUNDS} times")
    return None


def update_refund(account: Account, body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """metadata -> refund."""
    return account.save("refunds", account.read("refunds", id) | checked("refunds", body, ["metadata"]))


def move_refund(account: Account, refund: Json, status: str) -> Json:
    """Give the refund a new status and announce it: paid, bounced, funds returned; 422 when no way leads there."""
    come_from, action, cause = REFUND_MOVES[status]
    if refund["status"] not in come_from:
        raise state_error("invalid_refund_state", f"A refund that is {refund['status']} cannot become {status}")
    if status == "bounced":
        payment = account.read("payments", refund["links"]["payment"])
        account.save("payments", payment | {"amount_refunded": payment["amount_refunded"] - refund["amount"]})
    account.save("refunds", refund | {"status": status})
    account.tell("refunds", refund, action, "gocardless", cause)
    return refund | {"status": status}
