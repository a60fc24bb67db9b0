"""The server: authentication, version, rate limit, routing, idempotency; and the page a payer authorises on."""

import hmac
import json
import re
import time
from email.utils import formatdate
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from local.sandbox.gocardless import payments, people, requests, simulators
from local.sandbox.gocardless.account import Account
from local.sandbox.gocardless.clock import agenda
from local.sandbox.gocardless.wire import VERSION, ApiError, not_found, page, state_error, usage
from local.sandbox.world import Json, World

LIMIT, WINDOW_SECONDS = 1000, 60
IDEMPOTENCY = "gocardless.idempotency"

CREATES = {
    "billing_request_flows": requests.create_flow,
    "billing_requests": requests.create,
    "customer_bank_accounts": people.create_bank_account,
    "customers": people.create_customer,
    "mandates": people.create_mandate,
    "payments": payments.create,
    "refunds": payments.create_refund,
}
UPDATES = {
    "customers": people.update_customer,
    "mandates": people.update_mandate,
    "payments": payments.update,
    "refunds": payments.update_refund,
}
ACTS = {
    ("billing_requests", "cancel"): requests.cancel,
    ("customer_bank_accounts", "disable"): people.disable_bank_account,
    ("mandates", "cancel"): people.cancel_mandate,
    ("mandates", "reinstate"): people.reinstate_mandate,
    ("payments", "cancel"): payments.cancel,
    ("payments", "retry"): payments.retry,
    ("scenario_simulators", "run"): simulators.run,
}
# resource that can be read -> {filter of its list: path in the object}
LISTS: dict[str, dict[str, str]] = {
    "billing_requests": {"customer": "links.customer", "status": "status"},
    "customer_bank_accounts": {"customer": "links.customer", "enabled": "enabled"},
    "customers": {"currency": "currency"},
    "events": {
        "action": "action",
        "billing_request": "links.billing_request",
        "mandate": "links.mandate",
        "payment": "links.payment",
        "payout": "links.payout",
        "refund": "links.refund",
        "resource_type": "resource_type",
    },
    "mandates": {
        "customer": "links.customer",
        "customer_bank_account": "links.customer_bank_account",
        "reference": "reference",
        "scheme": "scheme",
        "status": "status",
    },
    "payments": {
        "currency": "currency",
        "customer": "customer",
        "mandate": "links.mandate",
        "scheme": "scheme",
        "status": "status",
    },
    "payout_items": {"payout": "links.payout"},
    "payouts": {"currency": "currency", "payout_type": "payout_type", "reference": "reference", "status": "status"},
    "refunds": {"mandate": "links.mandate", "payment": "links.payment"},
}
FAULTS = {
    429: usage("rate_limit_exceeded", "Rate limit exceeded", 429).body,
    500: ApiError(500, "gocardless", []).body,
}
PATH = re.compile(r"/(?P<resource>\w+)(?:/(?P<id>\w+)(?:/actions/(?P<act>\w+))?)?")

FLOW_PAGE = """<!doctype html><meta charset="utf-8"><title>Set up a direct debit</title><h1>Set up a direct debit</h1>
<form method="post">
<p><label>Given name <input name="given_name" value="{given_name}" required></label></p>
<p><label>Family name <input name="family_name" value="{family_name}" required></label></p>
<p><label>E-mail <input name="email" type="email" value="{email}" required></label></p>
<p>Sort code 20-00-00, account 55779911</p>
<p><button>Confirm</button></p></form>"""


def server(world: World, config: Json) -> Starlette:
    """World and configuration -> the GoCardless API as an ASGI app."""
    account = Account(world, config)
    account.flush()  # events a killed process left behind
    world.on_clock.append(agenda(account).catch_up)
    world.faults.error_bodies["gocardless"] = lambda status: FAULTS[status]
    site = Site(account)
    world.on_reset.append(site.forget_calls)
    return Starlette(
        routes=[
            Route("/flow/{flow}", site.show_flow),
            Route("/flow/{flow}", site.complete_flow, methods=["POST"]),
            Route("/{path:path}", site.api, methods=["GET", "POST", "PUT"]),
        ]
    )


class Site:
    """The HTTP side of one account."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._window, self._calls = 0, 0

    def forget_calls(self) -> None:
        """Start the rate limit anew."""
        self._calls = 0

    async def api(self, request: Request) -> Response:
        """One API request -> its JSON answer; everything it changes is stored together."""
        request_id = self.account.world.new_id("req-")
        raw = await request.body()
        try:
            self._count()
            self._authenticate(request)
            with self.account.world.unit():
                status, body = self._execute(request, raw)
        except ApiError as error:
            status, body = error.status, error.body
            body["error"]["request_id"] = request_id
        reset = formatdate((self._window + 1) * WINDOW_SECONDS, usegmt=True)
        limits = {
            "ratelimit-limit": LIMIT,
            "ratelimit-remaining": max(LIMIT - self._calls, 0),
            "ratelimit-reset": reset,
        }
        headers = {"x-request-id": request_id} | {name: str(value) for name, value in limits.items()}
        return Response(json.dumps(body), status, headers, "application/json")

    def _count(self) -> None:
        window = int(time.time()) // WINDOW_SECONDS
        if window != self._window:
            self._window, self._calls = window, 0
        self._calls += 1
        if self._calls > LIMIT:
            raise usage("rate_limit_exceeded", "Rate limit exceeded", 429)

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self.account.token.encode()):
            raise usage("access_token_invalid", "Access token not found or invalid", 401)
        version = request.headers.get("gocardless-version")
        if version is None:
            raise usage("missing_version_header", "No API version was given in the GoCardless-Version header")
        if version != VERSION:
            raise usage("version_not_found", f"There is no API version {version}")

    def _execute(self, request: Request, raw: bytes) -> tuple[int, Json]:
        found = PATH.fullmatch(request.url.path)
        if not found:
            raise not_found()
        resource, id_, act = found.group("resource", "id", "act")
        if request.method == "GET" and not act and resource in LISTS:
            return 200, self._read(resource, id_, dict(request.query_params))
        if request.method == "POST" and act and (resource, act) in ACTS:
            return 200, {resource: ACTS[resource, act](self.account, _content(raw, "data"), id=id_)}
        if request.method == "POST" and not id_ and resource in CREATES:
            key = request.headers.get("idempotency-key")
            return 201, {resource: self._create(resource, _content(raw, resource), key)}
        if request.method == "PUT" and id_ and not act and resource in UPDATES:
            return 200, {resource: UPDATES[resource](self.account, _content(raw, resource), id=id_)}
        raise not_found()

    def _read(self, resource: str, id_: str | None, query: dict[str, str]) -> Json:
        shown = self._shown
        if id_:
            return {resource: shown(resource, self.account.read(resource, id_))}
        found = self.account.newest_first(resource)
        if resource == "payments" and "customer" in query:
            mandates = {one["id"]: one["links"]["customer"] for one in self.account.newest_first("mandates")}
            wanted = query.pop("customer")
            found = [one for one in found if mandates[one["links"]["mandate"]] == wanted]
        answer = page(resource, found, query, LISTS[resource])
        linked: Json = {"linked": {}} if resource == "events" else {}
        return answer | {resource: [shown(resource, one) for one in answer[resource]]} | linked

    def _shown(self, resource: str, obj: Json) -> Json:
        if resource == "payout_items":  # they have no id of their own
            links = {name: value for name, value in obj["links"].items() if name != "payout"}
            return {name: obj[name] for name in ("amount", "type", "taxes")} | {"links": links}
        return people.shown_mandate(self.account, obj) if resource == "mandates" else obj

    def _create(self, resource: str, body: Json, key: str | None) -> Json:
        known = self.account.world.get(IDEMPOTENCY, f"{resource}:{key}") if key else None
        if known:
            links = {"conflicting_resource_id": known["id"]}
            message = "A resource has already been created with this idempotency key"
            raise state_error("idempotent_creation_conflict", message, 409, links)
        made = CREATES[resource](self.account, body)
        if key:
            self.account.world.put(IDEMPOTENCY, f"{resource}:{key}", {"id": made["id"]})
        return made

    async def show_flow(self, request: Request) -> Response:
        """Billing request flow -> the page where the payer authorises."""
        try:
            flow = self.account.read("billing_request_flows", request.path_params["flow"])
        except ApiError as error:
            return HTMLResponse(escape(str(error)), 404)
        payer = {name: escape(value or "") for name, value in flow["prefilled_customer"].items()}
        return HTMLResponse(FLOW_PAGE.format(**payer))

    async def complete_flow(self, request: Request) -> Response:
        """The filled-in page -> the billing request is fulfilled; the payer goes back to redirect_uri."""
        payer = dict(parse_qsl((await request.body()).decode()))
        try:
            with self.account.world.unit():
                flow = self.account.read("billing_request_flows", request.path_params["flow"])
                asked = self.account.read("billing_requests", flow["links"]["billing_request"])
                requests.fulfil(self.account, asked, payer)
        except ApiError as error:
            return HTMLResponse(escape(str(error)), error.status)
        if flow["redirect_uri"]:
            return RedirectResponse(flow["redirect_uri"], 303)
        return HTMLResponse("<!doctype html><title>Done</title><h1>Thank you: your direct debit is set up.</h1>")


def _content(raw: bytes, envelope: str) -> Json:
    try:
        body: Any = json.loads(raw or b"null")
    except ValueError as error:
        raise usage("invalid_document_structure", "The body must be JSON.") from error
    if body is None:
        return {}
    content = body.get(envelope) if isinstance(body, dict) else None
    if not isinstance(content, dict):
        raise usage("invalid_document_structure", f"Root element must be an object with the key {envelope}.")
    return content
