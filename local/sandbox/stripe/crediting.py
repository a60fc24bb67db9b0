"""What lowers what an invoice brought in: credit notes, and disputes a cardholder's bank raises."""

from local.sandbox.stripe.account import Account
from local.sandbox.stripe.invoices import payments_of
from local.sandbox.stripe.payments import create_refund
from local.sandbox.stripe.reading import LIST, Routes, lister, reader
from local.sandbox.stripe.wire import ApiError, envelope, text
from local.sandbox.world import Json

WAYS = ("refund", "balance", "out_of_band")


def credit(account: Account, invoice: Json, amount: int, way: str) -> Json:
    """Open or paid invoice, minor units, how they are given -> the credit note.

    An open invoice asks for less from now on, whatever the way. ApiError beyond what is left, or for any other state.
    """
    if invoice["status"] not in ("open", "paid"):
        raise ApiError(400, f"You cannot credit an invoice that is {invoice['status']}.")
    paid = invoice["status"] == "paid"
    left = invoice["amount_paid"] - invoice["post_payment_credit_notes_amount"] if paid else invoice["amount_due"]
    if not 0 < amount <= left:
        raise ApiError(400, f"The credit note's amount ({amount}) exceeds what is left ({left}).", param="amount")
    note = account.fresh(
        "credit_note",
        **dict.fromkeys(("amount", "subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"), amount),
        currency=invoice["currency"],
        customer=invoice["customer"],
        invoice=invoice["id"],
        number=f"{invoice['number']}-CN-01",
        type="post_payment" if paid else "pre_payment",
        effective_at=account.now(),
    )
    note["lines"] = envelope([], f"/v1/credit_notes/{note['id']}/lines")
    if paid:
        note["post_payment_amount"] = amount
        invoice["post_payment_credit_notes_amount"] += amount
        _give(account, note, invoice, way)
    else:
        note["pre_payment_amount"] = amount
        invoice["pre_payment_credit_notes_amount"] += amount
        invoice |= {"amount_due": left - amount, "amount_remaining": left - amount}
        _ask_for_less(account, invoice)
    account.tell("invoice.updated", account.save(invoice))
    account.tell("credit_note.created", account.save(note))
    return note


def _give(account: Account, note: Json, invoice: Json, way: str) -> None:
    if way == "out_of_band":
        note["out_of_band_amount"] = note["amount"]
        return
    if way == "refund":
        intent = payments_of(account, invoice["id"])[0]["payment"]["payment_intent"]
        made = create_refund(account, {"payment_intent": intent, "amount": note["amount"]})
        given = {"amount_refunded": note["amount"], "refund": made["id"], "type": "refund"}
        note["refunds"] = [given | {"payment_record_refund": None}]
        return
    customer = account.read("customer", note["customer"])
    customer["balance"] -= note["amount"]
    note["customer_balance_transaction"] = account.world.new_id("cbtxn_")
    account.save(customer)


def _ask_for_less(account: Account, invoice: Json) -> None:
    for payment in payments_of(account, invoice["id"]):
        intent = account.read("payment_intent", payment["payment"]["payment_intent"])
        account.save(intent | {"amount": invoice["amount_due"]})
        account.save(payment | {"amount_requested": invoice["amount_due"]})


def void_note(account: Account, note: Json) -> Json:
    """A credit note to an open invoice is taken back -> the note; ApiError for any other."""
    if note["type"] != "pre_payment" or note["status"] != "issued":
        raise ApiError(400, "Only a credit note to an open invoice can be voided.")
    invoice = account.read("invoice", note["invoice"])
    invoice["pre_payment_credit_notes_amount"] -= note["amount"]
    due = invoice["amount_due"] + note["amount"]
    invoice |= {"amount_due": due, "amount_remaining": due}
    _ask_for_less(account, account.save(invoice))
    note |= {"status": "void", "voided_at": account.now()}
    account.tell("credit_note.voided", account.save(note))
    return note


def dispute(account: Account, intent: Json, reason: str) -> Json:
    """The cardholder's bank takes the whole charge of a payment intent back -> the dispute."""
    charge = account.read("charge", intent["latest_charge"])
    made = account.fresh(
        "dispute",
        amount=charge["amount"],
        currency=charge["currency"],
        charge=charge["id"],
        payment_intent=intent["id"],
        reason=reason,
        status="needs_response",
    )
    account.save(charge | {"disputed": True})
    account.tell("charge.dispute.created", account.save(made))
    account.tell("charge.dispute.funds_withdrawn", made)
    return made


def end_dispute(account: Account, made: Json, *, won: bool) -> Json:
    """The bank has decided: won, the money is ours again -> the dispute."""
    if made["status"] in ("won", "lost"):
        raise ApiError(400, f"This dispute is {made['status']}.")
    made["status"] = "won" if won else "lost"
    account.tell("charge.dispute.closed", account.save(made))
    if won:
        account.tell("charge.dispute.funds_reinstated", made)
    return made


# (method, path) -> handler, parameters, required ones
ROUTES: Routes = {
    ("GET", "/credit_notes"): (
        lister("credit_note", "/v1/credit_notes"),
        LIST | {"invoice": text, "customer": text},
        (),
    ),
    ("GET", "/credit_notes/{id}"): (reader("credit_note"), {}, ()),
    ("GET", "/disputes"): (lister("dispute", "/v1/disputes"), LIST | {"payment_intent": text, "charge": text}, ()),
    ("GET", "/disputes/{id}"): (reader("dispute"), {}, ()),
}
