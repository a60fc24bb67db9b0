"""The vendor's scenario simulators, and the same moves for the admin port."""

from collections.abc import Callable

from local.sandbox.gocardless import payments, people, requests
from local.sandbox.gocardless.account import Account
from local.sandbox.gocardless.wire import not_found, state_error
from local.sandbox.world import Json

Simulator = Callable[[Account, str], object]

# mandate status wanted -> from each status, the next one on the way
MANDATE_WAYS = {
    "active": {"pending_submission": "submitted", "submitted": "active"},
    "failed": {"pending_submission": "submitted", "submitted": "failed"},
    "cancelled": {"pending_submission": "cancelled", "submitted": "cancelled", "active": "cancelled"},
    "expired": {"active": "expired"},
}


def walk_mandate(account: Account, mandate: Json, to: str, **said: str) -> Json:
    """Move the mandate step by step until it is `to`, saying `said` of the last step; 422 when no way leads there."""
    while True:
        step = MANDATE_WAYS[to].get(mandate["status"])
        if step is None:
            raise state_error("invalid_mandate_state", f"A mandate that is {mandate['status']} cannot become {to}")
        people.move_mandate(account, mandate, step, **(said if step == to else {}))
        if step == to:
            return mandate


def _payment(*way: str) -> Simulator:
    """Statuses to pass through -> the simulator; it wants a payment pending submission and an active mandate."""

    def run(account: Account, id: str) -> None:  # noqa: A002 - the path's word
        payment = account.read("payments", id)
        mandate = account.read("mandates", payment["links"]["mandate"])
        if payment["status"] != "pending_submission" or mandate["status"] != "active":
            raise state_error("invalid_payment_state", "The payment must be pending submission, its mandate active")
        for to in way:
            payments.walk(account, payment, to)

    return run


def _mandate(to: str) -> Simulator:
    return lambda account, id: walk_mandate(account, account.read("mandates", id), to)  # noqa: A006 - the path's word


def _refund(to: str) -> Simulator:
    return lambda account, id: payments.move_refund(  # noqa: A006 - the path's word
        account, account.read("refunds", id), to
    )


SIMULATORS: dict[str, Simulator] = {
    "payment_submitted": _payment("submitted"),
    "payment_confirmed": _payment("confirmed"),
    "payment_paid_out": _payment("paid_out"),
    "payment_failed": _payment("failed"),
    "payment_late_failure": _payment("confirmed", "failed"),
    "payment_charged_back": _payment("charged_back"),
    "mandate_activated": _mandate("active"),
    "mandate_failed": _mandate("failed"),
    "mandate_cancelled": _mandate("cancelled"),
    "mandate_expired": _mandate("expired"),
    "billing_request_fulfilled": lambda account, id: requests.fulfil(  # noqa: A006 - the path's word
        account, account.read("billing_requests", id), {}
    ),
    "refund_paid": _refund("paid"),
    "refund_bounced": _refund("bounced"),
    "refund_returned": _refund("funds_returned"),
}


def run(account: Account, body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """links.resource -> the simulator, run on that resource; 404 for an unknown one."""
    if id not in SIMULATORS:
        raise not_found()
    SIMULATORS[id](account, (body.get("links") or {}).get("resource", ""))
    return {"id": id}
