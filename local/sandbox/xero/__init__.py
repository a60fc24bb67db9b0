"""Xero's Accounting API as far as Dueflow uses it: token, sales invoices and what belongs to them, organisation.

Every call passes the gate (gate.py: token, tenant, limits, idempotency) before it reaches the books. One organisation;
sales documents (ACCREC) only; any ISO currency is accepted at rate 1; `where` knows `Field=="text"` joined by AND.
Published texts of refusals are used word for word; where none is published the sentence is ours.

State kinds: xero.invoice, xero.credit_note, xero.contact, xero.payment, xero.account, xero.token, xero.idempotency,
xero.quota, xero.setting.
"""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.sandbox.world import Json, World
from local.sandbox.xero import chart, contacts, credit_notes, invoices, payments
from local.sandbox.xero.gate import Gate
from local.sandbox.xero.scenario import ACTIONS
from local.sandbox.xero.wire import Call, Reply, problem

__all__ = ["ACTIONS", "server"]

API = "/api.xro/2.0"
OPERATIONS: list[tuple[str, str, Callable[[Call], Reply]]] = [
    ("GET", "/Invoices", invoices.find),
    ("PUT", "/Invoices", invoices.create),
    ("POST", "/Invoices", invoices.upsert),
    ("GET", "/Invoices/{id}", invoices.read),
    ("POST", "/Invoices/{id}", invoices.update),
    ("GET", "/Contacts", contacts.find),
    ("PUT", "/Contacts", contacts.create),
    ("POST", "/Contacts", contacts.upsert),
    ("GET", "/Contacts/{id}", contacts.read),
    ("POST", "/Contacts/{id}", contacts.update),
    ("GET", "/Payments", payments.find),
    ("PUT", "/Payments", payments.create),
    ("POST", "/Payments", payments.create),
    ("GET", "/Payments/{id}", payments.read),
    ("POST", "/Payments/{id}", payments.delete),
    ("GET", "/CreditNotes", credit_notes.find),
    ("PUT", "/CreditNotes", credit_notes.create),
    ("GET", "/CreditNotes/{id}", credit_notes.read),
    ("POST", "/CreditNotes/{id}", credit_notes.update),
    ("GET", "/Accounts", chart.accounts),
    ("GET", "/Organisation", chart.organisation),
]


def server(world: World, config: Json) -> Starlette:
    """World and configuration -> the ASGI app of identity and API on one port."""
    gate = Gate(world, config["credentials"]["xero"])
    chart.seed(world)
    world.on_reset.append(lambda: chart.seed(world))
    world.faults.error_bodies["xero"] = lambda status: problem(status, "Error", "An error occurred in Xero.")
    world.faults.after_500["xero"] = gate.remember_failure

    def guarded_by_gate(operation: Callable[[Call], Reply]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await gate.pass_through(request, operation)

        return answer

    routes = [Route("/connect/token", gate.token, methods=["POST"]), Route("/connections", gate.connections)]
    paths = dict.fromkeys(path for _, path, _ in OPERATIONS)
    for path in paths:
        by_method = {method: operation for method, at, operation in OPERATIONS if at == path}
        for method, operation in by_method.items():
            routes.append(Route(API + path, guarded_by_gate(operation), methods=[method]))
    return Starlette(routes=routes)
