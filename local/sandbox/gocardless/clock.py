"""What the banks do as virtual time passes: the Bacs calendar, and the given names that make it go wrong."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from local.sandbox.agenda import Agenda, Ref, Step, only
from local.sandbox.gocardless import bacs, payments, people
from local.sandbox.gocardless.account import Account
from local.sandbox.world import Json

MANDATES, PAYMENTS, REFUNDS, RETRIES = (
    "gocardless.mandates",
    "gocardless.payments",
    "gocardless.refunds",
    "gocardless.autoretries",
)
AUTORETRY_AFTER = timedelta(days=7)

# status of a payment -> what comes next, working days from its charge date, hour in London
NEXT = {
    "pending_submission": ("submitted", -bacs.SUBMIT_DAYS, bacs.CUT_OFF),
    "submitted": ("confirmed", bacs.RESULT_DAYS, bacs.NOON),
    "confirmed": ("paid_out", bacs.PAYOUT_DAYS, bacs.OPENING),
}
# (given name, status) -> what comes next instead, and of which cause
NAMED: dict[tuple[str, str], tuple[str, str]] = {
    ("Penniless", "submitted"): ("failed", "insufficient_funds"),
    ("Late", "confirmed"): ("failed", "refer_to_payer"),
    ("Fickle", "paid_out"): ("charged_back", "authorisation_disputed"),
}


def agenda(account: Account) -> Agenda:
    """Account -> what its mandates, payments and refunds do by themselves."""
    steps = {MANDATES: _of_mandate, PAYMENTS: _of_payment, REFUNDS: _of_refund, RETRIES: _of_retry}
    return Agenda(account.world, tuple(steps), lambda kind, obj: steps[kind](account, obj), account.at)


def _of_mandate(account: Account, mandate: Json) -> Step | None:
    since = people.submitted_from(account, mandate)
    invalid = _given_name(account, mandate) == "Invalid"
    moves: dict[str, tuple[str, datetime]] = {
        "pending_submission": ("submitted", bacs.at(bacs.counts_from(since), bacs.CUT_OFF)),
        "submitted": ("failed" if invalid else "active", bacs.at(bacs.mandate_active_on(since), bacs.OPENING)),
    }
    if _given_name(account, mandate) == "Expired":
        moves["active"] = ("expired", bacs.at(bacs.after(bacs.mandate_active_on(since), 1), bacs.OPENING))
    if mandate["status"] not in moves:
        return None
    status, when = moves[mandate["status"]]
    name = f"gocardless {status} {mandate['id']}"
    return Step(when, name, only(people.move_mandate, account, mandate, status))


def _of_payment(account: Account, payment: Json) -> Step | None:
    status = payment["status"]
    mandate = account.read("mandates", payment["links"]["mandate"])
    named = NAMED.get((_given_name(account, mandate), status))
    if status not in NEXT and not named:
        return None
    to, days, hour = NEXT.get(status, ("", bacs.PAYOUT_DAYS + 1, bacs.NOON))
    said: Json = {}
    if named:
        to, said["cause"] = named
    elif status == "submitted" and mandate["status"] in people.INACTIVE:
        to, said["cause"] = "failed", "mandate_cancelled"
    when = bacs.at(bacs.after(date.fromisoformat(payment["charge_date"]), days), hour)
    name = f"gocardless {to} {payment['id']}"
    return Step(when, name, only(payments.move, account, payment, to, **said))


def _of_refund(account: Account, refund: Json) -> Step | None:
    if refund["status"] != "submitted":
        return None
    made = bacs.counts_from(datetime.fromisoformat(refund["created_at"]))
    name = f"gocardless paid {refund['id']}"
    when = bacs.at(bacs.after(made, bacs.PAYOUT_DAYS), bacs.NOON)
    return Step(when, name, only(payments.move_refund, account, refund, "paid"))


def _of_retry(account: Account, planned: Json) -> Step | None:
    name = f"gocardless retry {planned['id']}"

    def again() -> Iterable[Ref]:
        account.world.delete(RETRIES, planned["id"])
        payment = account.read("payments", planned["id"])
        mandate = account.read("mandates", payment["links"]["mandate"])
        soonest = people.next_charge_date(account, mandate)
        if payment["status"] != "failed" or soonest is None:
            return ()
        payments.resubmit(account, payment, soonest, "gocardless", "payment_autoretried", {})
        return [(PAYMENTS, payment["id"])]

    return Step(datetime.fromisoformat(planned["due"]), name, again)


def plan_retry(account: Account, payment: Json) -> None:
    """The failed payment will be tried again a week later, without being asked."""
    due = (account.now() + AUTORETRY_AFTER).isoformat()
    account.world.put(RETRIES, payment["id"], {"id": payment["id"], "due": due})


def _given_name(account: Account, mandate: Json) -> str:
    customer = account.world.get("gocardless.customers", mandate["links"]["customer"])
    return (customer or {}).get("given_name") or ""
