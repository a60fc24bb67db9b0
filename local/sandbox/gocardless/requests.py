"""Billing requests: how a payer gives a mandate on a hosted page."""

from datetime import timedelta

from local.sandbox.gocardless import payments, people
from local.sandbox.gocardless.account import CREDITOR, Account
from local.sandbox.gocardless.wire import checked, invalid, positive, stamp, state_error
from local.sandbox.world import Json

REQUEST = ("fallback_enabled", "links", "mandate_request", "metadata", "payment_request", "purpose_code")
FLOW = (
    *(
        "auto_fulfil",
        "customer_details_captured",
        "exit_uri",
        "language",
        "links",
        "lock_bank_account",
        "lock_currency",
    ),
    *("lock_customer_details", "prefilled_bank_account", "prefilled_customer", "redirect_uri", "show_redirect_buttons"),
    *("show_success_redirect_button", "skip_success_screen"),
)
FLOW_LIVES = timedelta(days=7)
TEST_BANK: Json = {"account_number": "55779911", "branch_code": "200000", "country_code": "GB"}
ACTIONS_TO_DO = ("choose_currency", "collect_customer_details", "collect_bank_account", "confirm_payer_details")


def create(account: Account, body: Json) -> Json:
    """mandate_request and/or payment_request, links.customer?, metadata? -> pending billing request."""
    checked("billing_requests", body, REQUEST)
    mandate, payment = body.get("mandate_request"), body.get("payment_request")
    if not mandate and not payment:
        raise invalid("billing_requests", "mandate_request", "or payment_request is required")
    links = {"creditor": CREDITOR, "organisation": "OR000001"} | (body.get("links") or {})
    if "customer" in links:
        account.read("customers", links["customer"])
    made = account.make(
        "billing_requests",
        actions=[_action(name, "pending") for name in ACTIONS_TO_DO],
        fallback_enabled=bool(body.get("fallback_enabled", False)),
        fallback_occurred=False,
        instalment_schedule_request=None,
        links=links,
        mandate_request=_mandate_request(account, mandate) if mandate else None,
        metadata=body.get("metadata") or {},
        payment_context_code=None,
        payment_purpose_code=None,
        payment_request=_payment_request(payment) if payment else None,
        purpose_code=body.get("purpose_code"),
        resources={"customer": None, "customer_bank_account": None, "customer_billing_detail": None},
        status="pending",
        subscription_request=None,
    )
    if mandate:
        made["links"]["mandate_request"] = account.world.new_id("MRQ")
    if payment:
        made["links"]["payment_request"] = account.world.new_id("PRQ")
    account.tell(
        "billing_requests", account.save("billing_requests", made), "created", "api", "billing_request_created"
    )
    return made


def _action(name: str, status: str) -> Json:
    return {
        "type": name,
        "required": name != "choose_currency",
        "completes_actions": [],
        "requires_actions": [],
        "status": status,
    }


def _mandate_request(account: Account, wanted: Json) -> Json:
    checked("billing_requests", wanted, ("currency", "scheme", "metadata", "description", "verify", "constraints"))
    if wanted.get("scheme", "bacs") != "bacs" or wanted.get("currency", "GBP") != "GBP":
        raise invalid("billing_requests", "mandate_request.scheme", "the sandbox speaks bacs in GBP only")
    return {
        "authorisation_source": "web",
        "consent_type": None,
        "constraints": wanted.get("constraints"),
        "currency": "GBP",
        "description": wanted.get("description"),
        "funds_settlement": "managed",
        "links": {},
        "metadata": wanted.get("metadata") or {},
        "payer_requested_dual_signature": False,
        "scheme": "bacs",
        "sweeping": False,
        "verify": wanted.get("verify", "recommended"),
    }


def _payment_request(wanted: Json) -> Json:
    known = ("amount", "currency", "description", "metadata", "reference", "scheme")
    checked("billing_requests", wanted, known, ["amount", "currency", "description"])
    return {
        "amount": positive("billing_requests", "payment_request.amount", wanted["amount"]),
        "app_fee": None,
        "currency": wanted["currency"],
        "description": wanted["description"],
        "funds_settlement": "managed",
        "links": {},
        "metadata": wanted.get("metadata") or {},
        "reference": wanted.get("reference"),
        "scheme": wanted.get("scheme", "faster_payments"),
    }


def create_flow(account: Account, body: Json) -> Json:
    """links.billing_request, redirect_uri?, prefilled_customer?, ... -> flow with its authorisation_url."""
    checked("billing_request_flows", body, FLOW, ["links.billing_request"])
    request = account.read("billing_requests", body["links"]["billing_request"])
    if request["status"] not in ("pending", "ready_to_fulfil"):
        raise state_error("billing_request_not_pending", f"Billing request is {request['status']}")
    flags = [name for name in FLOW if name.startswith(("lock_", "show_", "skip_", "auto_", "customer_"))]
    made = account.make(
        "billing_request_flows",
        **{name: bool(body.get(name, name == "auto_fulfil")) for name in flags},
        exit_uri=body.get("exit_uri"),
        expires_at=stamp(account.now() + FLOW_LIVES),
        language=body.get("language", "en"),
        links={"billing_request": request["id"]},
        prefilled_bank_account=body.get("prefilled_bank_account") or {"account_type": None},
        prefilled_customer=dict.fromkeys(people.CUSTOMER[:-1]) | (body.get("prefilled_customer") or {}),
        redirect_uri=body.get("redirect_uri"),
        session_token=account.world.new_id("sesh_"),
    )
    made["authorisation_url"] = f"{account.host}/flow/{made['id']}"
    account.save("billing_request_flows", made)
    said = {"links": {"billing_request_flow": made["id"]}}
    account.tell("billing_requests", request, "flow_created", "api", "billing_request_flow_created", **said)
    return made


def cancel(account: Account, _body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """-> the cancelled billing request; 422 once it is fulfilled or cancelled."""
    request = account.read("billing_requests", id)
    if request["status"] not in ("pending", "ready_to_fulfil"):
        raise state_error("cancellation_failed", f"Billing request is {request['status']}")
    account.save("billing_requests", request | {"status": "cancelled"})
    account.tell("billing_requests", request, "cancelled", "api", "billing_request_cancelled")
    return request | {"status": "cancelled"}


def fulfil(account: Account, request: Json, payer: Json) -> Json:
    """Pending billing request and the payer's details -> fulfilled: customer, bank account, mandate, payment made."""
    if request["status"] not in ("pending", "ready_to_fulfil"):
        raise state_error("billing_request_not_pending", f"Billing request is {request['status']}")
    customer = _customer(account, request, payer)
    holder = " ".join(filter(None, (customer["given_name"], customer["family_name"]))) or customer["company_name"]
    for action, cause in (
        ("collect_customer_details", "customer_details_collected"),
        ("collect_bank_account", "bank_account_collected"),
        ("payer_details_confirmed", "payer_details_confirmed"),
    ):
        account.tell("billing_requests", request, action, "payer", cause, links={"customer": customer["id"]})
    bank_links = {"links": {"customer": customer["id"]}, "account_holder_name": holder}
    bank = people.create_bank_account(account, TEST_BANK | bank_links)
    links = request["links"] | {"customer": customer["id"], "customer_bank_account": bank["id"]}
    request |= {"links": links, "actions": [one | {"status": "completed"} for one in request["actions"]]}
    request["resources"] |= {"customer": customer, "customer_bank_account": bank}
    _grant(account, request, bank)
    request["status"] = "fulfilled"
    account.save("billing_requests", request)
    told = {name: link for name, link in links.items() if name not in ("creditor", "organisation")}
    account.tell("billing_requests", request, "fulfilled", "gocardless", "billing_request_fulfilled", links=told)
    return request


def _customer(account: Account, request: Json, payer: Json) -> Json:
    known = request["links"].get("customer")
    if known:
        return account.read("customers", known)
    flows = account.newest_first("billing_request_flows")
    prefilled = [one["prefilled_customer"] for one in flows if one["links"]["billing_request"] == request["id"]]
    given = {name: value for name, value in (prefilled[0] if prefilled else {}).items() if value is not None}
    blank = {"given_name": "Frank", "family_name": "Osborne", "email": "frank.osborne@example.com"}
    return people.create_customer(account, blank | given | payer)


def _grant(account: Account, request: Json, bank: Json) -> None:
    """Make what was asked for: the mandate, and a payment taken at once."""
    mandate = request["mandate_request"]
    metadata = mandate["metadata"] if mandate else {}
    wanted = {"links": {"customer_bank_account": bank["id"]}, "metadata": metadata}
    made = people.create_mandate(account, wanted, announced_as="gocardless")
    if mandate:
        mandate["links"]["mandate"] = made["id"]
        request["links"]["mandate_request_mandate"] = made["id"]
    if asked := request["payment_request"]:
        said = {name: asked[name] for name in ("amount", "currency", "description", "metadata", "reference")}
        payment = payments.create(account, said | {"links": {"mandate": made["id"]}})
        asked["links"]["payment"] = payment["id"]
        request["links"]["payment_request_payment"] = payment["id"]
        if asked["scheme"] != "bacs":
            payment |= {"scheme": asked["scheme"], "charge_date": account.now().date().isoformat()}
            payments.walk(account, payment, "confirmed")
