"""The server: authentication, routing, idempotency, expansion; and the page a payment link opens."""

import base64
import binascii
import functools
import hmac
import json
import re
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from local.sandbox.stripe import amendments, catalogue, crediting, customers, events, invoices, payments
from local.sandbox.stripe.account import Account
from local.sandbox.stripe.clock import agenda
from local.sandbox.stripe.expand import expand
from local.sandbox.stripe.idempotency import Answer, fingerprint, overwrite, recall, remember
from local.sandbox.stripe.reading import Routes
from local.sandbox.stripe.wire import API_VERSION, ApiError, Parser, nested, parsed
from local.sandbox.world import Json, World

ROUTES: Routes = {}
for module in (customers, payments, invoices, crediting, amendments, catalogue, events):
    ROUTES |= module.ROUTES
# The literal paths stand before the ones with a variable: /customers/search is not a customer.
PATTERNS = [
    (method, re.compile("/v1" + path.replace("{id}", r"(?P<id>[^/]+)")), *entry)
    for (method, path), entry in sorted(ROUTES.items(), key=lambda route: "{" in route[0][1])
]
FAULTS: dict[int, Json] = {
    409: {
        "type": "invalid_request_error",
        "code": "idempotency_key_in_use",
        "message": "There is currently another in-progress request using this idempotency key.",
    },
    429: {
        "type": "invalid_request_error",
        "code": "rate_limit",
        "message": "Too many requests hit the API too quickly.",
    },
    500: {"type": "api_error", "message": "An unknown error occurred."},
}

PAY_PAGE = """<!doctype html><meta charset="utf-8"><title>Pay</title><h1>{what}</h1>
<form method="post">
<p><label>Name <input name="name" required></label></p>
<p><label>E-mail <input name="email" type="email" value="{email}" required></label></p>
<p><button>Pay {amount}</button></p></form>"""


def server(world: World, config: Json) -> Starlette:
    """World and configuration -> the Stripe API as an ASGI app."""
    account = Account(world, config)
    world.on_clock.append(agenda(account).catch_up)
    world.faults.error_bodies["stripe"] = lambda status: {"error": FAULTS[status]}
    world.faults.after_500["stripe"] = functools.partial(overwrite, account)
    site = Site(account)
    return Starlette(
        routes=[
            Route("/pay/{link}", site.show_link),
            Route("/pay/{link}", site.pay_link, methods=["POST"]),
            Route("/{path:path}", site.api, methods=["GET", "POST", "DELETE"]),
        ]
    )


class Site:
    """The HTTP side of one account."""

    def __init__(self, account: Account) -> None:
        self.account = account

    async def api(self, request: Request) -> Response:
        """One API request -> its JSON answer; everything it changes is stored together."""
        form = (await request.body()).decode() if request.method == "POST" else request.url.query
        request_id = self.account.world.new_id("req_")
        answer = self._answer(request, nested(parse_qsl(form, keep_blank_values=True)), request_id)
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
        if key := request.headers.get("idempotency-key"):
            headers["Idempotency-Key"] = key
        if answer.replayed:
            headers["Idempotent-Replayed"] = "true"
        return Response(answer.body, answer.status, headers, "application/json")

    def _answer(self, request: Request, raw: Json, request_id: str) -> Answer:
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        digest = fingerprint(request.method, request.url.path, raw)
        try:
            self._authenticate(request)
            if key and (known := recall(self.account, key, digest)):
                return known
            with self.account.world.unit(), self.account.caused_by(request_id, key):
                answer = self._execute(request.method, request.url.path, raw)
                if key:
                    remember(self.account, key, digest, answer)
        except ApiError as error:
            return Answer(error.status, json.dumps(error.body))
        return answer

    def _execute(self, method: str, path: str, raw: Json) -> Answer:
        handler, known, required, ids = _matched(method, path)
        paths = raw.pop("expand", [])
        params = parsed(raw, known, required)
        try:
            result = expand(self.account, handler(self.account, params, **ids), paths)
        except ApiError as error:
            if error.status != 402:
                raise  # nothing of a refused request is kept
            return Answer(402, json.dumps(error.body))  # a declined card leaves a charge, events, another status
        return Answer(200, json.dumps(result))

    def _authenticate(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given).decode().split(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                given = ""
        if not given:
            raise ApiError(401, "You did not provide an API key.")
        if not hmac.compare_digest(given.encode(), self.account.key.encode()):
            raise ApiError(401, f"Invalid API Key provided: {given[:8]}****")
        version = request.headers.get("stripe-version", API_VERSION)
        if version != API_VERSION:
            raise ApiError(400, f"Invalid Stripe API version: {version}; the sandbox speaks {API_VERSION} only.")

    async def show_link(self, request: Request) -> Response:
        """Payment link -> the page where a person pays."""
        try:
            link, query = catalogue.link_at(self.account, str(request.url))
        except ApiError as error:
            return HTMLResponse(escape(str(error)), 404)
        items = catalogue.bought_by(self.account, link)
        total = sum(item["amount_total"] for item in items)
        what = ", ".join(item["description"] for item in items)
        amount = f"{total // 100}.{total % 100:02} {link['currency'].upper()}"
        email = escape(query.get("prefilled_email", ""))
        return HTMLResponse(PAY_PAGE.format(what=escape(what), email=email, amount=escape(amount)))

    async def pay_link(self, request: Request) -> Response:
        """The filled-in page -> the purchase is made."""
        form = dict(parse_qsl((await request.body()).decode()))
        try:
            with self.account.world.unit():
                link, query = catalogue.link_at(self.account, str(request.url))
                reference = query.get("client_reference_id")
                catalogue.complete(self.account, link, form["email"], form["name"], reference, {})
        except (ApiError, KeyError) as error:
            return HTMLResponse(escape(str(error)), 400)
        return HTMLResponse("<!doctype html><title>Paid</title><h1>Thank you: paid.</h1>")


def _matched(method: str, path: str) -> tuple[Any, dict[str, Parser], tuple[str, ...], dict[str, str]]:
    for known_method, pattern, handler, params, required in PATTERNS:
        if method == known_method and (found := pattern.fullmatch(path)):
            return handler, params, required, found.groupdict()
    raise ApiError(404, f"Unrecognized request URL ({method}: {path}).")
