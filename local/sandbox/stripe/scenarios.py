"""What people and banks do at Stripe, on demand. All results name objects by their ids."""

from collections.abc import Awaitable, Callable

from local.sandbox.stripe import amendments, catalogue, crediting, customers, payments
from local.sandbox.stripe.account import Account
from local.sandbox.stripe.wire import ApiError
from local.sandbox.world import Json, ScenarioError, World

DECLINES = (
    "generic_decline",
    "insufficient_funds",
    "expired_card",
    "lost_card",
    "stolen_card",
    "do_not_honor",
    "authentication_required",
)
REFUND_FAILURES = (
    "lost_or_stolen_card",
    "expired_or_canceled_card",
    "charge_for_pending_refund_disputed",
    "insufficient_funds",
    "declined",
    "merchant_request",
    "unknown",
)


async def create_customer_with_card(
    world: World,
    config: Json,
    email: str,
    name: str,
    metadata: dict[str, str] | None = None,
    card: str = "pm_card_visa",
) -> Json:
    """-> {"customer", "payment_method"}: a customer whose default payment method is the card."""
    account = Account(world, config)
    with world.unit():
        said = {"email": email, "name": name, "metadata": metadata or {}}
        customer = customers.create_customer(account, said)["id"]
        method = customers.attach_method(account, {"customer": customer}, id=card)["id"]
        settings = {"invoice_settings": {"default_payment_method": method}}
        customers.update_customer(account, settings, id=customer)
    return {"customer": customer, "payment_method": method}


async def decline_card(world: World, config: Json, payment_method: str, decline_code: str = "generic_decline") -> Json:
    """Every charge of the card fails from now on, for this reason."""
    if decline_code not in DECLINES:
        raise ScenarioError(f"Unknown decline code {decline_code}; known: {', '.join(DECLINES)}")
    _known(Account(world, config), "payment_method", payment_method)
    world.put("stripe.decline", payment_method, {"decline_code": decline_code})
    return {"payment_method": payment_method, "decline_code": decline_code}


async def accept_card(world: World, config: Json, payment_method: str) -> Json:
    """Charges of the card succeed again."""
    _known(Account(world, config), "payment_method", payment_method)
    world.delete("stripe.decline", payment_method)
    return {"payment_method": payment_method}


async def create_product(
    world: World, config: Json, name: str, amount: int, currency: str, interval: str = "month", interval_count: int = 1
) -> Json:
    """-> {"product", "price"}: something sold for `amount` minor units every so often."""
    account = Account(world, config)
    every = {"interval": interval, "interval_count": str(interval_count)}
    with world.unit():
        product = catalogue.create_product(account, {"name": name})["id"]
        said = {"product": product, "currency": currency, "unit_amount": amount, "recurring": every}
        price = _allowed(lambda: catalogue.create_price(account, said))["id"]
    return {"product": product, "price": price}


async def complete_payment_link(
    world: World,
    config: Json,
    email: str,
    name: str,
    price: str | None = None,
    payment_link: str | None = None,
    client_reference_id: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Json:
    """Somebody pays by a link (id or URL, its query counts), or by a link made for `price`.

    -> {"checkout_session", "customer", "payment_link", "subscription", "invoice", "payment_intent"}; the first invoice
    is paid. `metadata` goes on the session and the subscription.
    """
    if (price is None) == (payment_link is None):
        raise ScenarioError("Name either price or payment_link.")
    account = Account(world, config)

    def buy() -> Json:
        made = catalogue.create_link(account, {"line_items": [{"price": price}]}) if price else {}
        link, query = catalogue.link_at(account, payment_link or made["id"])
        reference = client_reference_id or query.get("client_reference_id")
        return catalogue.complete(account, link, email, name, reference, metadata or {})

    with world.unit():
        session = _allowed(buy)
    names = ("customer", "payment_link", "subscription", "invoice", "payment_intent", "client_reference_id")
    return {"checkout_session": session["id"]} | {name: session[name] for name in names}


async def fail_next_renewal(world: World, config: Json, subscription: str) -> Json:
    """The next charge for a renewal of the subscription is declined; the retry after it succeeds."""
    _known(Account(world, config), "subscription", subscription)
    world.put("stripe.fail_next", subscription, {})
    return {"subscription": subscription}


async def cancel_subscription(world: World, config: Json, subscription: str) -> Json:
    """The customer ends the subscription at once, in the vendor's portal."""
    account = Account(world, config)
    with world.unit():
        sub = _allowed(lambda: amendments.cancel(account, {}, id=subscription))
    return {"subscription": subscription, "status": sub["status"]}


async def refund_payment(world: World, config: Json, payment_intent: str, amount: int | None = None) -> Json:
    """Staff refund a payment in the vendor's dashboard -> {"refund"}."""
    account = Account(world, config)
    said: Json = {"payment_intent": payment_intent} | ({} if amount is None else {"amount": amount})
    with world.unit():
        refund = _allowed(lambda: payments.create_refund(account, said))
    return {"refund": refund["id"]}


async def complete_refund(world: World, config: Json, refund: str) -> Json:
    """A pending refund reaches the customer."""
    return _end_refund(world, config, refund)


async def fail_refund(world: World, config: Json, refund: str, reason: str = "expired_or_canceled_card") -> Json:
    """The customer's bank sends a refund back, even after it had succeeded."""
    if reason not in REFUND_FAILURES:
        raise ScenarioError(f"Unknown reason {reason}; known: {', '.join(REFUND_FAILURES)}")
    return _end_refund(world, config, refund, reason)


async def credit_invoice(world: World, config: Json, invoice: str, amount: int, way: str = "refund") -> Json:
    """Staff credit an open or paid invoice; a paid one as a refund, to the customer's balance, or out_of_band."""
    if way not in crediting.WAYS:
        raise ScenarioError(f"Unknown way {way}; known: {', '.join(crediting.WAYS)}")
    account = Account(world, config)
    with world.unit():
        note = _allowed(lambda: crediting.credit(account, account.read("invoice", invoice), amount, way))
    return {"credit_note": note["id"]}


async def void_credit_note(world: World, config: Json, credit_note: str) -> Json:
    """Staff take a credit note to an open invoice back."""
    account = Account(world, config)
    with world.unit():
        note = _allowed(lambda: crediting.void_note(account, account.read("credit_note", credit_note)))
    return {"credit_note": note["id"], "status": note["status"]}


async def dispute_payment(world: World, config: Json, payment_intent: str, reason: str = "fraudulent") -> Json:
    """The cardholder's bank takes a payment back -> {"dispute"}."""
    account = Account(world, config)
    with world.unit():
        made = _allowed(lambda: crediting.dispute(account, account.read("payment_intent", payment_intent), reason))
    return {"dispute": made["id"]}


async def end_dispute(world: World, config: Json, dispute: str, won: bool = True) -> Json:
    """The bank decides a dispute, for us or against us."""
    account = Account(world, config)
    with world.unit():
        made = _allowed(lambda: crediting.end_dispute(account, account.read("dispute", dispute), won=won))
    return {"dispute": made["id"], "status": made["status"]}


async def give_credit(world: World, config: Json, customer: str, amount: int) -> Json:
    """Staff give a customer credit for invoices to come -> the balance, below zero for credit."""
    account = Account(world, config)
    known = _known(account, "customer", customer)
    account.change(known, "customer.updated", balance=known["balance"] - amount)
    return {"customer": customer, "balance": known["balance"]}


async def amend_next_invoice(
    world: World, config: Json, subscription: str, discount: int = 0, tax_percent: int = 0
) -> Json:
    """The next invoice of the subscription has minor units taken off, and tax added to the rest."""
    _known(Account(world, config), "subscription", subscription)
    world.put("stripe.amend_next", subscription, {"discount": discount, "tax_percent": tax_percent})
    return {"subscription": subscription}


def _end_refund(world: World, config: Json, refund: str, reason: str | None = None) -> Json:
    account = Account(world, config)
    with world.unit():
        made = _allowed(lambda: payments.end_refund(account, account.read("refund", refund), reason))
    return {"refund": refund, "status": made["status"]}


def _known(account: Account, kind: str, id: str) -> Json:  # noqa: A002 - the word every caller uses for it
    return _allowed(lambda: account.read(kind, id))


def _allowed(act: Callable[[], Json]) -> Json:
    try:
        return act()
    except ApiError as error:
        raise ScenarioError(str(error)) from error


ACTIONS: dict[str, Callable[..., Awaitable[Json]]] = {
    action.__name__: action
    for action in (
        create_customer_with_card,
        decline_card,
        accept_card,
        create_product,
        complete_payment_link,
        fail_next_renewal,
        cancel_subscription,
        refund_payment,
        complete_refund,
        fail_refund,
        credit_invoice,
        void_credit_note,
        dispute_payment,
        end_dispute,
        give_credit,
        amend_next_invoice,
    )
}
