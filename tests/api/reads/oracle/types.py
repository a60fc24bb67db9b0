"""What each field of each type stands for, where its name does not say it.

By its name a leaf is the column of that name, money is the amount of that column in the row's currency, a list of
values or steps is the JSON column of that name, and a relation goes by the column `<field>_id`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from models.rules.lifecycle import STANDING, Status
from models.rules.people import TOLD
from resolvers.viewer import Viewer
from tests.api.reads.oracle.world import Part, Row, World, encoded, entries, money

Computed = Callable[[World, Row], Any]

# Leaves whose column is called otherwise, and the columns of small objects' values.
COLUMNS: Mapping[str, str] = {
    "PricingOption.type": "option_type",
    "Job.status": "state",
    "WebhookEndpoint.secretHint": "hint",
    "WebhookMessage.messageId": "id",
    "WebhookMessage.kind": "name",
}

# To-one relations whose column is called otherwise.
KEYS: Mapping[str, str] = {
    "Membership.type": "membership_type_id",
    "Attendance.chosenInvoice": "paid_by_id",
}

# To-many relations: the column over there. Those that are no pages are in the order of ids unless ORDERS says another.
BACK: Mapping[str, str] = {
    "Centre.courses": "centre_id",
    "SettingGroup.centres": "setting_group_id",
    "PricingOption.overrides": "pricing_option_id",
    "MembershipType.paymentOptions": "membership_type_id",
    "MembershipType.coverage": "membership_type_id",
    "Course.sessions": "course_id",
    "Course.bookings": "course_id",
    "Course.waitingList": "course_id",
    "ClassSession.attendances": "class_session_id",
    "Booking.lines": "booking_id",
    "Booking.creditEntries": "booking_id",
    "Booking.attendances": "booking_id",
    "Package.entries": "package_id",
    "Membership.payments": "membership_id",
    "Membership.invoices": "membership_id",
    "Membership.accessTokens": "membership_id",
    "Membership.credits": "membership_id",
    "Mandate.memberships": "mandate_id",
    "CardSubscription.invoices": "subscription_id",
    "Payment.refunds": "payment_id",
    "Invoice.items": "invoice_id",
    "Invoice.allocations": "invoice_id",
    "Invoice.shipments": "invoice_id",
    "Invoice.corrections": "invoice_id",
    "Allocation.shares": "allocation_id",
    "Correction.shipments": "correction_id",
    "User.links": "user_id",
    **dict.fromkeys(
        (
            *("User.memberships", "User.bookings", "User.waitingPlaces", "User.packages", "User.attendances"),
            *("User.accessTokens", "User.mandates", "User.payments", "User.invoices", "User.subscriptions"),
            "User.notifications",
        ),
        "user_id",
    ),
    "WebhookEndpoint.messages": "endpoint_id",
}


def _by_start(world: World, line: Row) -> Any:
    session = world.get("class_session", line["class_session_id"])
    return session and session["starts_at"], line["id"]


ORDERS: Mapping[str, Computed] = {
    "Booking.lines": _by_start,
    "Invoice.items": lambda _world, row: (row["position"], row["id"]),
    "Invoice.allocations": lambda _world, row: row["version"],
    "Allocation.shares": lambda _world, row: row["position"],
    "Query.userFields": lambda _world, row: row["name"],
    "Query.providerSettings": lambda _world, row: row["provider"],
}


def _back_to_one(table: str, key: str, **columns: Any) -> Computed:
    """The only row over there that names this one."""

    def find(world: World, row: Row) -> Row | None:
        found = world.where(table, **{key: row["id"]}, **columns)
        assert len(found) <= 1, (table, key, found)
        return found[0] if found else None

    return find


def _owners_money(amount: str, table: str, key: str) -> Computed:
    """Money in the currency of the row that `key` names."""
    return lambda world, row: money(row[amount], (world.get(table, row[key]) or {})["currency"])


def _arrears(world: World, row: Row) -> Part | None:
    owed = 0
    for payment in world.where("payment", membership_id=row["id"]):
        carrier = world.get("payment", payment["carried_by_id"])
        dropped = carrier is None or carrier["status"] == "CANCELLED"
        if payment["status"] in ("FAILED", "CHARGED_BACK") or (payment["status"] == "CARRIED" and dropped):
            owed += payment["amount"]
    return money(owed, row["currency"])


def _sync_state(world: World, row: Row) -> str:
    if not world.where("external_link", user_id=row["id"], provider="COURSEPRO", kind="user", state="LINKED"):
        return "NOT_LINKED"
    told: dict[str, Any] = {}
    for sync in world.where("user_sync", user_id=row["id"]):
        told = {entry["name"]: entry["value"] for entry in entries(sync["told"])}
    fields = {entry["name"]: entry["value"] for entry in entries(row["fields"])}
    now = {name: None if row[name] is None else str(row[name]) for name in TOLD}
    now |= {each["name"]: fields.get(each["name"]) for each in world.table("user_field")}
    same = all((value or None) == (told.get(name) or None) for name, value in now.items())
    return "IN_SYNC" if same else "DIRTY"


def _candidates(world: World, row: Row) -> list[Row]:
    named = json.loads(row["evidence"]).get("candidates", [])
    return [user for user in world.table("user_account") if str(user["id"]) in named]


def _difference(world: World, row: Row) -> list[Part]:
    """What each attendance carries in this version and carried in the one before, where that differs."""

    def carried(version: int) -> dict[UUID, int]:
        found = world.where("allocation", invoice_id=row["invoice_id"], version=version)
        shares = [share for each in found for share in world.where("allocation_share", allocation_id=each["id"])]
        return {share["attendance_id"]: share["amount"] for share in shares}

    was, now = carried(row["version"] - 1), carried(row["version"])
    return [
        {
            "attendance": world.get("attendance", key),
            "was": money(was.get(key), row["currency"]),
            "now": money(now.get(key), row["currency"]),
        }
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)
    ]


def _refunded(world: World, row: Row) -> Part | None:
    back = [each["amount"] for each in world.where("refund", payment_id=row["id"]) if each["status"] != "FAILED"]
    return money(sum(back), row["currency"])


def _place_in_line(world: World, row: Row) -> int | None:
    if row["state"] != "WAITING":
        return None
    line = [each["id"] for each in world.where("waiting_place", course_id=row["course_id"], state="WAITING")]
    return line.index(row["id"]) + 1


def _availability(_world: World, row: Row) -> str | None:
    word = STANDING[Status(row["status"])].coursepro
    return word and word.upper()


def _subject_id(_world: World, row: Row) -> str:
    called = {"Subscription": "CardSubscription", "InboxEvent": "WebhookEvent"}
    table: str = row["subject_type"]
    return encoded(called.get(table, table), row["subject_id"])


def _starts_at(world: World, row: Row) -> Any:
    held = world.where("class_session", course_id=row["id"], deleted_at=None)
    return min((each["starts_at"] for each in held), default=None)


def managed(world: World, row: Row) -> bool:
    """Whether a membership type stands for a card subscription's product."""
    return bool(world.where("membership_type", product=row["product"]))


def _job_error(_world: World, row: Row) -> Part | None:
    error = {"code": row["error_code"], "message": row["error"]}
    return error if any(value is not None for value in error.values()) else None


COMPUTED: Mapping[str, Computed] = {
    "PriceOverride.amount": _owners_money("amount", "pricing_option", "pricing_option_id"),
    "Membership.availability": _availability,
    "Membership.subscription": _back_to_one("subscription", "membership_id"),
    "Membership.arrears": _arrears,
    "CardSubscription.managed": managed,
    "Course.placesTaken": lambda world, row: sum(
        each["status"] in ("AWAITING_PAYMENT", "CONFIRMED") for each in world.where("booking", course_id=row["id"])
    ),
    "Course.placesOffered": lambda world, row: len(world.where("waiting_place", course_id=row["id"], state="OFFERED")),
    "Course.startsAt": _starts_at,
    "Booking.payment": _back_to_one("payment", "booking_id"),
    "BookingLine.share": _owners_money("share", "booking", "booking_id"),
    "WaitingPlace.position": _place_in_line,
    "Package.payment": _back_to_one("payment", "package_id"),
    "Package.balance": lambda world, row: sum(
        each["delta"] for each in world.where("credit_entry", package_id=row["id"])
    ),
    "Payment.refunded": _refunded,
    "Invoice.period": lambda _world, row: {"start": row["period_start"], "end": row["period_end"]},
    "Invoice.allocation": _back_to_one("allocation", "invoice_id", current=True),
    "InvoiceItem.amount": _owners_money("amount", "invoice", "invoice_id"),
    "Allocation.difference": _difference,
    "AllocationShare.amount": _owners_money("amount", "allocation", "allocation_id"),
    "Correction.amount": _owners_money("amount", "invoice", "invoice_id"),
    "Correction.was": lambda _world, row: entries(json.loads(row["change"]).get("was")),
    "Correction.now": lambda _world, row: entries(json.loads(row["change"]).get("now")),
    "Job.progress": lambda _world, row: {"done": row["done_count"], "total": row["total_count"]},
    "Job.error": _job_error,
    "AuditEntry.subjectId": _subject_id,
    "ApiKey.scopes": lambda _world, row: json.loads(row["scopes"]),
    "Drift.owner": lambda _world, row: "STRIPE" if row["provider"] == "STRIPE" else "DUEFLOW",
    "User.syncState": _sync_state,
    "ReviewItem.candidates": _candidates,
    "BillingPolicy.retryAfterDays": lambda _world, row: json.loads(row["retry_after_days"]),
    "WebhookEndpoint.topics": lambda _world, row: json.loads(row["topics"]),
}


def caller(world: World, viewer: Viewer) -> Part:
    """The root `viewer`."""
    return {"role": viewer.role.value, "name": viewer.name, "user": world.get("user_account", viewer.user_id)}
