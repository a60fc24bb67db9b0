"""Every kind of job and the function that does it; a kind that an event asks for and nobody does stops the start."""

from models.actions.unit import PUBLISH
from models.rules.events import REACTIONS
from workers.jobs import (
    courses,
    drift,
    gaps,
    invoices,
    ledger,
    memberships,
    news,
    packages,
    partners,
    payments,
    people,
    practice,
    probes,
)
from workers.work import Handler

HANDLERS: dict[str, Handler] = {
    "accounting.ship_invoice": invoices.ship_to_books,
    "courses.lapse_offers": courses.lapse_offers,
    "courses.push_fields": people.push_fields,
    "courses.push_cart": memberships.push_cart,
    "courses.probe": probes.probe,
    "courses.push_membership": memberships.push,
    "courses.push_user": people.push_user,
    "courses.sync_users": people.sync_users,
    "drift.report": drift.report,
    "exports.write": partners.write_export,
    "inbox.apply": news.apply_webhook,
    "inbox.catch_up": gaps.catch_up,
    "invoices.bill_off_due": invoices.bill_off_due,
    "invoices.respread": invoices.respread,
    PUBLISH: news.publish,
    "ledger.prove": ledger.prove,
    "memberships.move_due": memberships.move_due,
    "mandates.cancel": memberships.cancel_mandate,
    "mandates.start": memberships.start_mandate,
    "mirror.read": news.read_mirrored,
    "notifications.claim_record": news.claim_record,
    "notifications.payment_failed": news.payment_failed,
    "notifications.place_offered": news.place_offered,
    "packages.expire": packages.expire,
    "packages.grant_period": packages.grant_period,
    "packages.grant_to_membership": packages.grant_to_membership,
    "partners.tidy": partners.tidy,
    "payments.ask": payments.ask,
    "payments.cancel": payments.cancel,
    "payments.collect": payments.collect,
    "payments.raise_fees": payments.raise_fees,
    "payments.reconcile": gaps.reconcile,
    "payments.refund": payments.refund,
    "payments.retry": payments.retry,
    "payments.retry_due": payments.retry_due,
    "practice.check_classes": practice.check_classes,
    "practice.find_patient": practice.find_patient,
    "practice.poll": practice.read_classes,
    "practice.poll_patients": practice.read_patients,
    "practice.read_patient": practice.read_patient,
    "practice.ship_invoice": invoices.ship_to_practice,
    "sandbox.move_clock": news.move_clock,
    "subscriptions.adopt": memberships.adopt,
    "subscriptions.payment_link": memberships.payment_link,
    "webhooks.deliver": partners.deliver,
}

RECURRING: dict[str, float] = {  # kind -> seconds between two runs
    "courses.lapse_offers": 30.0,
    "inbox.catch_up": 3600.0,
    "invoices.bill_off_due": 5.0,
    "ledger.prove": 86_400.0,
    "memberships.move_due": 60.0,
    "packages.expire": 60.0,
    "packages.grant_period": 60.0,
    "partners.tidy": 3600.0,
    "payments.ask": 15.0,
    "payments.raise_fees": 5.0,
    "payments.retry_due": 30.0,
    "payments.reconcile": 86_400.0,
    "practice.check_classes": 3600.0,
    "practice.poll": 5.0,
    "practice.poll_patients": 30.0,
}

AT_START = ("inbox.catch_up",)  # beside its hours: whenever a worker starts

_asked_for = {kind for kinds in REACTIONS.values() for kind in kinds} | RECURRING.keys()
if missing := _asked_for - HANDLERS.keys():
    raise RuntimeError(f"nobody does the jobs {sorted(missing)}")
