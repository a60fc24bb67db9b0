"""What can be arranged at Xero's side: limits of the plan, slow answers, accounts; and a view of the books."""

from collections.abc import Awaitable, Callable
from typing import Any

from local.sandbox.world import Json, World
from local.sandbox.xero import chart
from local.sandbox.xero.contacts import CONTACT
from local.sandbox.xero.credit_notes import CREDIT_NOTE
from local.sandbox.xero.gate import LIMITS, SETTING
from local.sandbox.xero.invoices import INVOICE
from local.sandbox.xero.payments import PAYMENT


async def limits(world: World, _config: Json, **limits: int) -> Json:
    """Set calls allowed: concurrent, minute, day (as another plan has them) -> all three."""
    if unknown := limits.keys() - LIMITS.keys():
        raise ValueError(f"Unknown limits: {', '.join(sorted(unknown))}; known: {', '.join(LIMITS)}")
    chosen = (world.get(SETTING, "limits") or {}) | limits
    world.put(SETTING, "limits", chosen)
    return LIMITS | chosen


async def slow(world: World, _config: Json, seconds: float) -> Json:
    """Let every call take so many real seconds."""
    world.put(SETTING, "slow", {"seconds": seconds})
    return {"seconds": seconds}


async def add_account(
    world: World,
    _config: Json,
    code: str,
    name: str,
    kind: str,
    tax_type: str = "NONE",
) -> Json:
    """Code, name, kind (BANK, REVENUE, ..), tax type -> the account."""
    return chart.store(world, code, name, kind, tax_type)


async def archive_account(world: World, _config: Json, code: str) -> Json:
    """Archive an account: documents that name it are refused from now on -> the account."""
    account = world.get(chart.ACCOUNT, code)
    if account is None:
        raise KeyError(f"No account {code}")
    world.put(chart.ACCOUNT, code, account | {"Status": "ARCHIVED"})
    return account | {"Status": "ARCHIVED"}


async def books(world: World, _config: Json) -> Json:
    """-> {"invoices", "credit_notes", "payments", "contacts"} as stored, amounts as strings."""
    kinds = {"invoices": INVOICE, "credit_notes": CREDIT_NOTE, "payments": PAYMENT, "contacts": CONTACT}
    return {name: world.all(kind) for name, kind in kinds.items()}


ACTIONS: dict[str, Callable[..., Awaitable[Any]]] = {
    "limits": limits,
    "slow": slow,
    "add_account": add_account,
    "archive_account": archive_account,
    "books": books,
}
