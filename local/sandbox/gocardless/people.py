"""Customers, their bank accounts and their mandates."""

from datetime import date, datetime
from typing import Any

from local.sandbox.gocardless import bacs
from local.sandbox.gocardless.account import CREDITOR, Account
from local.sandbox.gocardless.wire import check_metadata, checked, invalid, state_error
from local.sandbox.world import Json

PERSON = ("company_name", "email", "family_name", "given_name", "phone_number", "language")
ADDRESS = ("address_line1", "address_line2", "address_line3", "city", "country_code", "postal_code", "region")
NATIONAL = ("danish_identity_number", "swedish_identity_number")
CUSTOMER = (*PERSON, *ADDRESS, *NATIONAL, "metadata")
ACCOUNT = (
    "account_number",
    "branch_code",
    "country_code",
    "account_holder_name",
    "currency",
    "iban",
    "links",
    "metadata",
)
MANDATE = ("links", "metadata", "reference", "scheme", "payer_ip_address", "authorisation_source")
USABLE = ("pending_customer_approval", "pending_submission", "submitted", "active")
INACTIVE = ("cancelled", "failed", "expired", "blocked")

# status -> action of the event that says so, origin, cause, when nobody names another
MANDATE_MOVES = {
    "submitted": ("submitted", "gocardless", "mandate_submitted"),
    "active": ("active", "gocardless", "mandate_activated"),
    "failed": ("failed", "bank", "invalid_bank_details"),
    "cancelled": ("cancelled", "bank", "mandate_cancelled"),
    "expired": ("expired", "gocardless", "mandate_expired"),
    "blocked": ("blocked", "gocardless", "mandate_blocked"),
}


def create_customer(account: Account, body: Json) -> Json:
    """Names, address, e-mail -> customer; a name and an e-mail are required."""
    checked("customers", body, CUSTOMER, ["email"])
    if not body.get("company_name") and not (body.get("given_name") and body.get("family_name")):
        raise invalid("customers", "given_name", "is required, with family_name, unless company_name is given")
    blank: Json = dict.fromkeys(CUSTOMER)
    customer = account.make("customers", **blank | {"language": "en", "metadata": {}} | body)
    account.tell("customers", customer, "created", "api", "customer_created")
    return customer


def update_customer(account: Account, body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """Changed fields -> customer."""
    customer = account.read("customers", id)
    return account.save("customers", customer | checked("customers", body, CUSTOMER))


def create_bank_account(account: Account, body: Json) -> Json:
    """Sort code and account number (or IBAN), holder, links.customer -> bank account; only the ending is kept."""
    resource = "customer_bank_accounts"
    checked(resource, body, ACCOUNT, ["account_holder_name", "links.customer"])
    account.read("customers", body["links"]["customer"])
    number = str(body.get("account_number") or body.get("iban") or "")
    if len(number) < 6:
        raise invalid(resource, "account_number", "is required")
    made = account.make(
        resource,
        account_holder_name=body["account_holder_name"].upper(),
        account_number_ending=number[-2:],
        account_type=None,
        bank_account_token=None,
        bank_name="BARCLAYS BANK PLC",
        country_code=body.get("country_code", "GB"),
        currency=body.get("currency", "GBP"),
        enabled=True,
        links={"customer": body["links"]["customer"]},
        metadata=body.get("metadata") or {},
        payer_name_verification_result=None,
        trusted_recipient=False,
    )
    account.tell(resource, made, "created", "api", "customer_bank_account_created")
    return made


def disable_bank_account(account: Account, _body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """-> the disabled bank account; its mandates are cancelled."""
    bank = account.read("customer_bank_accounts", id)
    if not bank["enabled"]:
        raise state_error("disable_failed", "Bank account has already been disabled")
    bank["enabled"] = False
    account.save("customer_bank_accounts", bank)
    account.tell("customer_bank_accounts", bank, "disabled", "api", "customer_bank_account_disabled")
    for mandate in account.newest_first("mandates"):
        if mandate["links"]["customer_bank_account"] == id and mandate["status"] in USABLE:
            move_mandate(account, mandate, "cancelled", origin="api", cause="bank_account_closed")
    return bank


# -- mandates ----------------------------------------------------------------------------------------------------------


def create_mandate(account: Account, body: Json, *, announced_as: str = "api") -> Json:
    """links.customer_bank_account, scheme, reference?, metadata? -> mandate pending submission."""
    checked("mandates", body, MANDATE, ["links.customer_bank_account"])
    bank = account.read("customer_bank_accounts", body["links"]["customer_bank_account"])
    if not bank["enabled"]:
        raise state_error("bank_account_disabled", "Bank account has been disabled")
    if body.get("scheme", "bacs") != "bacs":
        raise invalid("mandates", "scheme", "the sandbox speaks bacs only")
    links = {"creditor": CREDITOR, "customer": bank["links"]["customer"], "customer_bank_account": bank["id"]}
    made = account.make(
        "mandates",
        authorisation_source=body.get("authorisation_source", "web"),
        consent_parameters=None,
        consent_type=None,
        funds_settlement="managed",
        links=links,
        mandate_type="bank_debit",
        metadata=body.get("metadata") or {},
        next_possible_charge_date=None,
        next_possible_standard_ach_charge_date=None,
        payments_require_approval=False,
        reference=None,
        scheme="bacs",
        status="pending_submission",
        verified_at=None,
    )
    made["reference"] = body.get("reference") or f"DUE-{made['id'][2:8].upper()}"
    account.save("mandates", made)
    account.tell("mandates", made, "created", announced_as, "mandate_created")
    return shown_mandate(account, made)


def submitted_from(account: Account, mandate: Json) -> datetime:
    """Mandate -> the instant it was made or asked for again."""
    again = account.world.get("gocardless.resubmitted", mandate["id"])
    return datetime.fromisoformat(again["at"] if again else mandate["created_at"])


def next_charge_date(account: Account, mandate: Json) -> date | None:
    """Mandate -> the earliest day a payment made now can be charged; None when it takes none."""
    if mandate["status"] not in USABLE:
        return None
    waiting = mandate["status"] != "active"
    active_on = bacs.mandate_active_on(submitted_from(account, mandate)) if waiting else None
    return bacs.next_charge_date(account.now(), active_on)


def shown_mandate(account: Account, mandate: Json) -> Json:
    """Mandate as stored -> as answered: the next possible charge date moves with the clock."""
    soonest = next_charge_date(account, mandate)
    return mandate | {"next_possible_charge_date": soonest.isoformat() if soonest else None}


def move_mandate(account: Account, mandate: Json, status: str, **said: Any) -> Json:
    """Give the mandate a new status and announce it; pending payments of a dead mandate are cancelled.

    `said` may name another origin and cause, or metadata of the request.
    """
    action, origin, cause = MANDATE_MOVES[status]
    if status == "active" and account.world.get("gocardless.resubmitted", mandate["id"]):
        action, cause = "reinstated", "mandate_reinstated"
    origin, cause = said.pop("origin", origin), said.pop("cause", cause)
    mandate["status"] = status
    account.tell("mandates", account.save("mandates", mandate), action, origin, cause, **said)
    if status in INACTIVE:
        cause = "mandate_expired" if status == "expired" else cause if cause != "other" else "mandate_cancelled"
        for payment in account.newest_first("payments"):
            if payment["links"]["mandate"] == mandate["id"] and payment["status"] == "pending_submission":
                payment["status"] = "cancelled"
                account.tell("payments", account.save("payments", payment), "cancelled", origin, cause)
    return mandate


def cancel_mandate(account: Account, body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """metadata? -> the cancelled mandate; 422 cancellation_failed when it is inactive already."""
    mandate = account.read("mandates", id)
    if mandate["status"] not in USABLE:
        raise state_error("cancellation_failed", f"Mandate is {mandate['status']} and cannot be cancelled")
    metadata = body.get("metadata") or {}
    check_metadata("mandates", metadata)
    return shown_mandate(account, move_mandate(account, mandate, "cancelled", origin="api", metadata=metadata))


def reinstate_mandate(account: Account, body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """metadata? -> the mandate, submitted to the banks once more; 422 mandate_not_inactive when it is usable."""
    mandate = account.read("mandates", id)
    if mandate["status"] not in INACTIVE:
        raise state_error("mandate_not_inactive", "Mandate is already active or being submitted")
    account.world.put("gocardless.resubmitted", id, {"at": account.now().isoformat()})
    mandate["status"] = "pending_submission"
    metadata = body.get("metadata") or {}
    account.save("mandates", mandate)
    said = ("resubmission_requested", "api", "resubmission_requested")
    account.tell("mandates", mandate, *said, metadata=metadata)
    return shown_mandate(account, mandate)


def update_mandate(account: Account, body: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """metadata -> mandate."""
    mandate = account.read("mandates", id)
    return shown_mandate(account, account.save("mandates", mandate | checked("mandates", body, ["metadata"])))
