"""What falls due in a Stripe account as virtual time passes."""

from collections.abc import Iterable
from datetime import UTC, datetime

from local.sandbox.agenda import Agenda, Ref, Step, only
from local.sandbox.stripe import invoices, subscriptions
from local.sandbox.stripe.account import Account
from local.sandbox.world import Json

HOURS_TO_COMPLETE = 23
SUBSCRIPTION, INVOICE = "stripe.subscription", "stripe.invoice"


def agenda(account: Account) -> Agenda:
    """Account -> what its subscriptions and invoices do by themselves."""
    steps = {SUBSCRIPTION: _of_subscription, INVOICE: _of_invoice}
    return Agenda(account.world, tuple(steps), lambda kind, obj: steps[kind](account, obj), account.at)


def _of_subscription(account: Account, sub: Json) -> Step | None:
    name, period_end = sub["id"], sub["items"]["data"][0]["current_period_end"]

    def renew() -> Iterable[Ref]:
        return [(INVOICE, subscriptions.renew(account, sub)["id"])]

    if sub["status"] == "incomplete":
        when = _moment(sub["created"] + HOURS_TO_COMPLETE * invoices.HOUR)
        expire = only(subscriptions.end, account, sub, "payment_failed", "incomplete_expired")
        return Step(when, f"stripe expire {name}", expire)
    if sub["status"] not in subscriptions.RENEWS:
        return None
    if sub["cancel_at_period_end"]:
        end = only(subscriptions.end, account, sub, "cancellation_requested")
        return Step(_moment(period_end), f"stripe end {name}", end)
    return Step(_moment(period_end), f"stripe renew {name}", renew)


def _of_invoice(account: Account, invoice: Json) -> Step | None:
    when = invoice["automatically_finalizes_at"] or invoice["next_payment_attempt"]

    if not when or not invoice["auto_advance"]:
        return None
    return Step(_moment(when), f"stripe collect {invoice['id']}", only(subscriptions.collect, account, invoice))


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
