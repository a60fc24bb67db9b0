"""What payers and banks do at GoCardless, on demand. All results name objects by their ids."""

from collections.abc import Awaitable, Callable

from local.sandbox.gocardless import instructions, payments, people, requests
from local.sandbox.gocardless.account import Account
from local.sandbox.gocardless.causes import MANDATE_FAILURES, PAYMENT_FAILURES
from local.sandbox.gocardless.clock import plan_retry
from local.sandbox.gocardless.simulators import walk_mandate
from local.sandbox.gocardless.wire import ApiError
from local.sandbox.world import Json, ScenarioError, World


async def fulfil_billing_request(
    world: World, config: Json, billing_request: str, given_name: str = "", family_name: str = "", email: str = ""
) -> Json:
    """The payer completes the hosted page -> ids of billing_request, customer, customer_bank_account, mandate, payment.

    Details not given are the flow's prefilled ones. The mandate is pending submission.
    """
    typed = {"given_name": given_name, "family_name": family_name, "email": email}
    payer = {name: value for name, value in typed.items() if value}
    account = Account(world, config)

    def act() -> Json:
        links = requests.fulfil(account, account.read("billing_requests", billing_request), payer)["links"]
        return {
            "billing_request": billing_request,
            "customer": links["customer"],
            "customer_bank_account": links["customer_bank_account"],
            "mandate": links.get("mandate_request_mandate"),
            "payment": links.get("payment_request_payment"),
        }

    return _done(world, act)


async def create_mandate(
    world: World,
    config: Json,
    given_name: str = "Frank",
    family_name: str = "Osborne",
    email: str = "frank.osborne@example.com",
    metadata: dict[str, str] | None = None,
) -> Json:
    """-> {"customer", "customer_bank_account", "mandate"}: an active mandate; `metadata` goes on the mandate."""
    account = Account(world, config)

    def act() -> Json:
        person = {"given_name": given_name, "family_name": family_name, "email": email}
        customer = people.create_customer(account, person)["id"]
        holder = {"account_holder_name": f"{given_name} {family_name}", "links": {"customer": customer}}
        bank = people.create_bank_account(account, requests.TEST_BANK | holder)["id"]
        wanted = {"links": {"customer_bank_account": bank}, "metadata": metadata or {}}
        mandate = people.create_mandate(account, wanted)
        walk_mandate(account, mandate, "active")
        return {"customer": customer, "customer_bank_account": bank, "mandate": mandate["id"]}

    return _done(world, act)


async def activate_mandate(world: World, config: Json, mandate: str) -> Json:
    """The banks accept the mandate now."""
    account = Account(world, config)
    return _done(world, lambda: _mandate(walk_mandate(account, account.read("mandates", mandate), "active")))


async def cancel_mandate(
    world: World, config: Json, mandate: str, origin: str = "bank", cause: str = "mandate_cancelled"
) -> Json:
    """The instruction is cancelled: by the payer at the bank, or by another origin (api, gocardless)."""
    if origin not in ("bank", "api", "gocardless"):
        raise ScenarioError("origin is one of bank, api, gocardless")
    _known(cause, MANDATE_FAILURES)
    account = Account(world, config)
    said = {"origin": origin, "cause": cause}
    return _done(world, lambda: _mandate(walk_mandate(account, account.read("mandates", mandate), "cancelled", **said)))


async def transfer_mandate(world: World, config: Json, mandate: str) -> Json:
    """The payer moves to another bank, which takes the instruction along: it stays active."""
    account = Account(world, config)
    return _done(world, lambda: _mandate(instructions.transfer(account, account.read("mandates", mandate))))


async def replace_mandate(world: World, config: Json, mandate: str) -> Json:
    """Another instruction takes the place of this one -> {"mandate", "status"} of the new one."""
    account = Account(world, config)
    return _done(world, lambda: _mandate(instructions.replace(account, account.read("mandates", mandate))))


async def reinstate_mandate(world: World, config: Json, mandate: str) -> Json:
    """An instruction that was over is active again, by its bank."""
    account = Account(world, config)
    return _done(world, lambda: _mandate(instructions.reinstate(account, account.read("mandates", mandate))))


async def end_mandate(world: World, config: Json, mandate: str, status: str = "expired") -> Json:
    """The instruction has failed, expired or is blocked."""
    if status not in instructions.ENDS:
        raise ScenarioError(f"status is one of {', '.join(instructions.ENDS)}")
    account = Account(world, config)
    return _done(world, lambda: _mandate(instructions.end(account, account.read("mandates", mandate), status)))


async def cancel_chargeback(world: World, config: Json, payment: str) -> Json:
    """The payer's bank takes a chargeback back: the money is ours again."""
    account = Account(world, config)
    return _done(world, lambda: _payment(payments.cancel_chargeback(account, account.read("payments", payment))))


async def confirm_payment(world: World, config: Json, payment: str) -> Json:
    """The banks take the payment now; a mandate still on its way becomes active first."""
    return _move(world, config, payment, "confirmed")


async def pay_out(world: World, config: Json, payment: str) -> Json:
    """The payment is collected, if it is not yet, and paid out now."""
    return _move(world, config, payment, "paid_out")


async def fail_payment(
    world: World, config: Json, payment: str, cause: str = "insufficient_funds", will_attempt_retry: bool = False
) -> Json:
    """The bank refuses the payment now: late, when it was confirmed or paid out already.

    With `will_attempt_retry` (only for a payment with retry_if_possible) it is submitted again a week later.
    """
    _known(cause, PAYMENT_FAILURES)
    account = Account(world, config)

    def act() -> Json:
        found = account.read("payments", payment)
        if will_attempt_retry and not found["retry_if_possible"]:
            raise ScenarioError("Only a payment with retry_if_possible is tried again.")
        moved = _collected(account, found, "failed", cause=cause, will_attempt_retry=will_attempt_retry)
        if will_attempt_retry:
            plan_retry(account, moved)
        return _payment(moved)

    return _done(world, act)


async def charge_back(world: World, config: Json, payment: str, cause: str = "authorisation_disputed") -> Json:
    """The payer takes the money back under the Direct Debit guarantee."""
    _known(cause, {"authorisation_disputed", "refund_requested", "mandate_cancelled", "other"})
    return _move(world, config, payment, "charged_back", cause=cause)


async def refund_payment(world: World, config: Json, payment: str, amount: int) -> Json:
    """Staff refund a part of a payment in the vendor's dashboard -> {"refund"}."""
    account = Account(world, config)

    def act() -> Json:
        total = account.read("payments", payment)["amount_refunded"] + amount
        said = {"amount": amount, "total_amount_confirmation": total, "links": {"payment": payment}}
        return {"refund": payments.create_refund(account, said)["id"]}

    return _done(world, act)


async def pay_refund(world: World, config: Json, refund: str) -> Json:
    """The refund reaches the customer now."""
    return _move_refund(world, config, refund, "paid")


async def fail_refund(world: World, config: Json, refund: str) -> Json:
    """The customer's bank sends the refund back, even after it was paid."""
    return _move_refund(world, config, refund, "bounced")


def _move_refund(world: World, config: Json, refund: str, to: str) -> Json:
    account = Account(world, config)
    moved = _done(world, lambda: payments.move_refund(account, account.read("refunds", refund), to))
    return {"refund": refund, "status": moved["status"]}


def _move(world: World, config: Json, payment: str, to: str, **said: str) -> Json:
    account = Account(world, config)
    return _done(world, lambda: _payment(_collected(account, account.read("payments", payment), to, **said)))


def _collected(account: Account, payment: Json, to: str, **said: object) -> Json:
    mandate = account.read("mandates", payment["links"]["mandate"])
    if mandate["status"] in ("pending_submission", "submitted"):
        walk_mandate(account, mandate, "active")
    return payments.walk(account, payment, to, **said)


def _payment(payment: Json) -> Json:
    return {"payment": payment["id"], "status": payment["status"]}


def _mandate(mandate: Json) -> Json:
    return {"mandate": mandate["id"], "status": mandate["status"]}


def _known(cause: str, causes: set[str]) -> None:
    if cause not in causes:
        raise ScenarioError(f"Unknown cause {cause}; known: {', '.join(sorted(causes))}")


def _done(world: World, act: Callable[[], Json]) -> Json:
    try:
        with world.unit():
            return act()
    except ApiError as error:
        raise ScenarioError(f"{error}: {error.errors}") from error


ACTIONS: dict[str, Callable[..., Awaitable[Json]]] = {
    action.__name__: action
    for action in (
        fulfil_billing_request,
        create_mandate,
        activate_mandate,
        cancel_mandate,
        transfer_mandate,
        replace_mandate,
        reinstate_mandate,
        end_mandate,
        cancel_chargeback,
        confirm_payment,
        pay_out,
        fail_payment,
        charge_back,
        refund_payment,
        pay_refund,
        fail_refund,
    )
}
