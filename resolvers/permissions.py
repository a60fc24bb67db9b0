"""Which rows of each type, and which of its fields, who may see: one table, enforced in the WHERE of every read."""

from collections.abc import Mapping
from enum import StrEnum

from models.rules.scopes import MONEY_READ
from models.rules.states import Role
from resolvers.viewer import Viewer


class Audience(StrEnum):
    """Those who see the same rows by the same rules; a partner whose key has the scope `money:read` is one more."""

    MEMBER = "MEMBER"
    FRONT_DESK = "FRONT_DESK"
    FINANCE = "FINANCE"
    ADMIN = "ADMIN"
    PARTNER = "PARTNER"
    PARTNER_MONEY = "PARTNER_MONEY"


_AUDIENCE = {role: Audience(role.value) for role in Role}


def audience(viewer: Viewer) -> Audience:
    """Who, for the table below, is asking."""
    if viewer.role is Role.PARTNER and MONEY_READ in viewer.scopes:
        return Audience.PARTNER_MONEY
    return _AUDIENCE[viewer.role]


ALL, NONE = "true", "false"
OWN = "{row}.user_id = {viewer}"
OF_SOMEBODY = "{row}.user_id IS NOT NULL"


def _owner(table: str, key: str, then: str = "up.user_id = {viewer}") -> str:
    """Rows whose `key` names a row of `table` that fulfils `then`."""
    return f"EXISTS (SELECT 1 FROM {table} up WHERE up.id = {{row}}.{key} AND {then})"  # noqa: S608  words of this file


# an invoice is its payer's; whose classes it pays for sees it too
_PAID_OR_ATTENDED = f"({OWN} OR {{row}}.attendee_id = {{viewer}})"
_HIS = _PAID_OR_ATTENDED.replace("{row}", "up")
_OWN_INVOICE = _owner("invoice", "invoice_id", _HIS)
_OWN_SHARE = (
    "EXISTS (SELECT 1 FROM allocation al JOIN invoice up ON up.id = al.invoice_id"  # noqa: S608  words of this file
    f" WHERE al.id = {{row}}.allocation_id AND {_HIS})"
)

Rules = Mapping[Audience, str]


def _rules(member: str, desk: str, finance: str, partner: str, partner_money: str | None = None) -> Rules:
    kinds = (member, desk, finance, ALL, partner, partner if partner_money is None else partner_money)
    return dict(zip(Audience, kinds, strict=True))


#                              member        front desk   finance      partner  partner with money:read
_CATALOGUE = _rules(ALL, ALL, ALL, ALL)
_PERSONAL = _rules(OWN, ALL, ALL, ALL)
_MONEY = _rules(OWN, ALL, ALL, NONE, ALL)
_BOOKS = _rules(_OWN_INVOICE, ALL, ALL, NONE, ALL)
_OFFICE = _rules(NONE, NONE, NONE, NONE)
_DESK = _rules(NONE, ALL, NONE, NONE)
# what a caller set up or asked for by the own key
_BY_KEY = "{row}.api_key_id = {viewer.key}"
_ITS_EXPORT = "{row}.id = ANY (ARRAY(SELECT f.job_id FROM export_file f WHERE f.api_key_id = {viewer.key}))"
_JOBS = f"({OF_SOMEBODY} OR {_ITS_EXPORT})"

ROWS: Mapping[str, Rules] = {
    "Centre": _CATALOGUE,
    "SettingGroup": _CATALOGUE,
    "PricingOption": _CATALOGUE,
    "PriceOverride": _CATALOGUE,
    "MembershipType": _CATALOGUE,
    "PaymentOption": _CATALOGUE,
    "ClassType": _CATALOGUE,
    "PackageOffer": _CATALOGUE,
    "Coverage": _CATALOGUE,
    "Course": _CATALOGUE,
    "ClassSession": _CATALOGUE,
    "User": _rules("{row}.id = {viewer}", ALL, ALL, ALL),
    "UserField": _CATALOGUE,
    "ExternalLink": _PERSONAL,
    "ReviewItem": _rules(NONE, ALL, ALL, NONE),
    "Membership": _PERSONAL,
    "Booking": _PERSONAL,
    "BookingLine": _rules(_owner("booking", "booking_id"), ALL, ALL, ALL),
    "WaitingPlace": _PERSONAL,
    "Attendance": _PERSONAL,
    "AccessToken": _PERSONAL,
    "Package": _PERSONAL,
    "CreditEntry": _rules(_owner("package", "package_id"), ALL, ALL, ALL),
    "Notification": _rules(OWN, ALL, ALL, NONE),
    "Mandate": _MONEY,
    "Payment": _MONEY,
    "Refund": _MONEY,
    "CardSubscription": _MONEY,
    "Invoice": _rules(_PAID_OR_ATTENDED, ALL, ALL, NONE, ALL),
    "InvoiceItem": _BOOKS,
    "Allocation": _BOOKS,
    "AllocationShare": _rules(_OWN_SHARE, ALL, ALL, NONE, ALL),
    "Shipment": _rules(NONE, NONE, ALL, NONE, ALL),
    "Correction": _rules(NONE, ALL, ALL, NONE, ALL),
    # who works with people sees the jobs that concern a person, so that a change can be followed to its end
    "Job": _rules(OWN, _JOBS, _JOBS, _JOBS),
    "AuditEntry": _rules(NONE, NONE, ALL, NONE),
    "CourseMapping": _rules(NONE, ALL, ALL, ALL),
    "Drift": _rules(NONE, ALL, ALL, NONE),
    "WebhookEvent": _OFFICE,
    "ApiKey": _OFFICE,
    "ProviderSetting": _OFFICE,
    "ProbeRun": _DESK,
    "BillingPolicy": _rules(NONE, ALL, ALL, NONE),
    "LedgerEntry": _rules(NONE, NONE, ALL, NONE),
    "WebhookEndpoint": _rules(NONE, NONE, NONE, _BY_KEY),
    "WebhookMessage": _rules(
        NONE, NONE, NONE, _owner("webhook_endpoint", "endpoint_id", "up.api_key_id = {viewer.key}")
    ),
}

# who sees how far an integration is set up
READINESS = frozenset({Audience.FRONT_DESK, Audience.ADMIN})
_STAFF = frozenset({Audience.FRONT_DESK, Audience.FINANCE, Audience.ADMIN})
_OPERATORS = frozenset({Audience.FINANCE, Audience.ADMIN})

# who sees whether the books hold: of everything, and of an invoice, payment or user they see
BOOKS_OF_ALL = _OPERATORS
BOOKS_OF_ONE = _OPERATORS | {Audience.MEMBER}

# Fields some audiences get null for; every one of them is nullable in the schema.
FIELDS: Mapping[tuple[str, str], frozenset[Audience]] = {
    ("ExternalLink", "evidence"): _STAFF,
    ("Mandate", "authorisationUrl"): _STAFF | {Audience.MEMBER},
    ("Membership", "arrears"): _STAFF | {Audience.MEMBER, Audience.PARTNER_MONEY},
    ("Job", "error"): _STAFF,
    ("Job", "key"): _OPERATORS,
    ("Payment", "key"): _OPERATORS,
    ("Refund", "key"): _OPERATORS,
}
