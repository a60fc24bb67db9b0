"""Who may give money back, in which words, and what the payer sees of it."""

from typing import Any

import pytest

from models.actions import payments
from models.rules.states import PaymentOutcome
from models.tables.payment import Payment, Refund
from models.tables.user import User
from resolvers.reads.ids import encode
from tests.build import BY, NOW, a_fee, a_membership, a_name

GIVE_BACK = """mutation It($input: RefundPaymentInput!) { refundPayment(input: $input) {
  refund { id amount { amount } status key payment { refunded { amount } refunds { reason } } }
  job { kind } userErrors { code field } } }"""
SEE = "query It($id: ID!) { node(id: $id) { ... on Refund { reason status key payment { id } } } }"


@pytest.fixture(scope="module")
async def payment(api: Any) -> Payment:
    """35.00 of the member's, taken."""
    fee = await a_fee(await a_membership(await User.get(id=api.member.id)))
    await payments.settle(fee.id, PaymentOutcome.CONFIRMED, reference=a_name("PM"), acting=BY, at=NOW)
    return fee


def wanted(payment: Payment, amount: str | None = None, currency: str = "GBP", reason: str = "Pool shut") -> Any:
    part = {} if amount is None else {"amount": {"amount": amount, "currency": currency}}
    return {"paymentId": encode("Payment", payment.id), "reason": reason} | part


@pytest.mark.parametrize("role", ["MEMBER", "FRONT_DESK", "PARTNER"])
async def test_who_does_not_keep_the_money_gives_none_back(api: Any, payment: Payment, role: str) -> None:
    told = (await api.ask(GIVE_BACK, role, input=wanted(payment)))["data"]["refundPayment"]
    assert [error["code"] for error in told["userErrors"]] == ["ROLE_NOT_ALLOWED"]
    assert await Refund.filter(payment_id=payment.id).count() == 0


@pytest.mark.parametrize(
    ("amount", "currency", "reason", "code", "field"),
    [
        ("1.00", "EUR", "x", "CURRENCY_MISMATCH", ["amount", "currency"]),
        ("35.01", "GBP", "x", "REFUND_TOO_LARGE", ["amount"]),
        ("0.00", "GBP", "x", "INVALID_INPUT", ["amount"]),
        ("-1.00", "GBP", "x", "INVALID_INPUT", ["amount"]),
        ("1.00", "GBP", " ", "INVALID_INPUT", ["reason"]),
        ("1.00", "GBP", "x" * 201, "INVALID_INPUT", ["reason"]),
    ],
)
async def test_what_is_refused_says_where(
    api: Any, payment: Payment, amount: str, currency: str, reason: str, code: str, field: list[str]
) -> None:
    given = wanted(payment, amount, currency, reason)
    told = (await api.ask(GIVE_BACK, "FINANCE", input=given))["data"]["refundPayment"]
    assert (told["refund"], told["userErrors"]) == (None, [{"code": code, "field": field}])
    assert await Refund.filter(payment_id=payment.id).count() == 0


async def test_finance_gives_back_and_the_payer_sees_it(api: Any, payment: Payment) -> None:
    part = (await api.ask(GIVE_BACK, "FINANCE", input=wanted(payment, "10.00")))["data"]["refundPayment"]
    assert part["userErrors"] == []
    assert part["job"] == {"kind": "payments.refund"}
    made = part["refund"]
    assert (made["amount"], made["status"]) == ({"amount": "10.00"}, "DUE")
    assert made["payment"] == {"refunded": {"amount": "10.00"}, "refunds": [{"reason": "Pool shut"}]}
    rest = (await api.ask(GIVE_BACK, "ADMIN", input=wanted(payment)))["data"]["refundPayment"]["refund"]
    assert (rest["amount"], rest["payment"]["refunded"]) == ({"amount": "25.00"}, {"amount": "35.00"})
    seen = (await api.ask(SEE, "MEMBER", id=made["id"]))["data"]["node"]
    of = {"id": encode("Payment", payment.id)}
    assert seen == {"reason": "Pool shut", "status": "DUE", "key": None, "payment": of}
    assert (await api.ask(SEE, "FINANCE", id=made["id"]))["data"]["node"]["key"] == made["key"]
    assert (await api.ask(SEE, "PARTNER", id=made["id"]))["data"]["node"] is None
