"""What can be done: a line a mutation. See `doing` for how a line becomes one, and the action for what happens."""

from typing import Any

import strawberry

from models.actions import (
    access,
    arrears,
    attendances,
    billing_policy,
    bookings,
    cancellations,
    catalogue,
    catalogue_changes,
    claims,
    corrections,
    coursepro_setup,
    courses,
    drift_report,
    dunning,
    inbound,
    invoices,
    jobs,
    keys,
    links,
    mandates,
    mappings,
    memberships,
    offers,
    packages,
    payments,
    probes,
    refunds,
    reviews,
    settings,
    shipments,
    subscriptions,
    user_fields,
    user_sync,
    users,
    waiting,
    webhook_endpoints,
    webhook_messages,
)
from models.rules.lifecycle import Cause
from models.rules.partners import ExportKind
from models.rules.refusals import Code, Refusal
from models.rules.states import Role
from resolvers.auth import tell_doors
from resolvers.context import Context
from schema import inputs, partners
from schema.bookings import book, move, new_quote
from schema.doing import does, done_by
from schema.payloads import Answer
from schema.types.drifting import DriftRepair, told_repair


def _configures(action: Any) -> Any:
    async def run(ctx: Context, given: dict[str, Any]) -> Answer:
        row = await action(**given, vault=ctx.vault, local=ctx.sandbox, acting=ctx.viewer.actor, at=ctx.clock.now())
        return Answer(subject_id=row.id)

    return run


async def _create_api_key(ctx: Context, given: dict[str, Any]) -> Answer:
    key, token = await keys.create_api_key(**given, acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer(subject_id=key.id, token=token)


async def _rotate_api_key(ctx: Context, given: dict[str, Any]) -> Answer:
    at = ctx.clock.now()
    key, token = await keys.rotate_api_key(**given, acting=ctx.viewer.actor, at=at)
    await tell_doors(ctx.bus, key.id, at)
    return Answer(subject_id=key.id, token=token)


async def _revoke_api_key(ctx: Context, given: dict[str, Any]) -> Answer:
    at = ctx.clock.now()
    key = await keys.revoke_api_key(given["key_id"], acting=ctx.viewer.actor, at=at)
    await tell_doors(ctx.bus, key.id, at)
    return Answer(subject_id=key.id)


async def _advance_clock(ctx: Context, given: dict[str, Any]) -> Answer:
    if not ctx.sandbox:
        raise Refusal(Code.SANDBOX_ONLY)
    await settings.advance_clock(given["to"], acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer()


async def _run_probe(ctx: Context, given: dict[str, Any]) -> Answer:
    job = await probes.run_probe(given["probe"], acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer(job_id=job.id)


async def _retry_job(ctx: Context, given: dict[str, Any]) -> Answer:
    job = await jobs.retry(given["job_id"], acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer(job_id=job.id)


async def _cancel_job(ctx: Context, given: dict[str, Any]) -> Answer:
    job = await jobs.cancel(given["job_id"], acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer(job_id=job.id)


async def _sign_up(ctx: Context, given: dict[str, Any]) -> Answer:
    user = await claims.sign_up(**given, claim_url=ctx.claim_url, acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer(subject_id=user.id)


async def _remove_user_field(ctx: Context, given: dict[str, Any]) -> Answer:
    await user_fields.remove_user_field(**given, acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer()


async def _sync_users(ctx: Context, given: dict[str, Any]) -> Answer:
    job = await user_sync.sync_users(**given, acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer(job_id=job.id)


async def _report_drift(ctx: Context, given: dict[str, Any]) -> Answer:
    job = await drift_report.report_drift(**given, acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer(job_id=job.id)


async def _repair_drift(ctx: Context, given: dict[str, Any]) -> Answer:
    planned = await drift_report.repair_drift(**given, acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer(repairs=[told_repair(each) for each in planned])


async def _create_payment_link(ctx: Context, given: dict[str, Any]) -> Answer:
    if ctx.viewer.role is Role.MEMBER and "beneficiary_id" in given:
        raise Refusal(Code.NOT_FOUND, field=("beneficiaryId",))  # who somebody else is, only the desk may say
    kind = await subscriptions.create_payment_link(**given, acting=ctx.viewer.actor, at=ctx.clock.now())
    return Answer(subject_id=kind.id)


def _moves(verb: str, cause: Cause, description: str) -> Any:
    return does(memberships.by_staff, inputs.MembershipInput, "Membership", description, verb=verb, cause=cause)


_token: str | None = strawberry.field(
    description="The key itself, shown this once; null where it was refused.", graphql_type=str | None
)


_repairs: list[DriftRepair] | None = strawberry.field(
    description="What is done about each, in their order; null where it was refused.",
    graphql_type=list[DriftRepair] | None,
)


@strawberry.type(description="What can be done.")
class Mutation:
    """Every mutation, by area."""

    create_user = does(users.create_user, inputs.CreateUserInput, "User", "Write down a person.")
    sign_up = done_by(
        _sign_up,
        inputs.SignUpInput,
        "User",
        "Write down a person who signs up; somebody known is refused, and written to.",
        verb="sign_up",
    )
    claim_record = does(
        claims.claim_record, inputs.ClaimRecordInput, "User", "Say that the person opened the link that was sent."
    )
    update_user = does(users.update_user, inputs.UpdateUserInput, "User", "Change what is known of a person.")
    set_user_field = does(
        user_fields.set_user_field, inputs.SetUserFieldInput, "UserField", "Collect a field of people, or change it."
    )
    remove_user_field = done_by(
        _remove_user_field,
        inputs.RemoveUserFieldInput,
        "Job",
        "Collect a field of people no longer.",
        verb="remove_user_field",
    )
    link_user = does(
        users.link_external,
        inputs.LinkUserInput,
        "ExternalLink",
        "Tie a user to their record in another system.",
        verb="link_user",
    )
    unlink_user = does(
        links.unlink_user, inputs.UnlinkUserInput, "ExternalLink", "Undo a tie; it stays, with its evidence."
    )
    settle_review = does(
        reviews.settle_review, inputs.SettleReviewInput, "ReviewItem", "Answer a question that was left to a person."
    )
    sync_users = done_by(
        _sync_users,
        inputs.SyncUsersInput,
        "Job",
        "Tell the course system of all users that changed, where that is switched on.",
        verb="sync_users",
    )

    create_setting_group = does(
        catalogue.create_setting_group,
        inputs.CreateSettingGroupInput,
        "SettingGroup",
        "Make a group of centres that share settings.",
    )
    create_centre = does(catalogue.create_centre, inputs.CreateCentreInput, "Centre", "Open a centre.")
    update_centre = does(
        access.update_centre,
        inputs.UpdateCentreInput,
        "Centre",
        "Change how long a centre's gates open around a class; open access tokens follow.",
    )
    create_pricing_option = does(
        catalogue.create_pricing_option, inputs.CreatePricingOptionInput, "PricingOption", "Set a fee."
    )
    set_price_override = does(
        catalogue.set_price_override,
        inputs.SetPriceOverrideInput,
        "PriceOverride",
        "Set another amount for one centre or one setting group.",
    )
    create_membership_type = does(
        catalogue.create_membership_type,
        inputs.CreateMembershipTypeInput,
        "MembershipType",
        "Make a membership that can be bought.",
    )

    update_pricing_option = does(
        catalogue_changes.update_pricing_option, inputs.UpdatePricingOptionInput, "PricingOption", "Change a fee."
    )
    update_membership_type = does(
        catalogue_changes.update_membership_type,
        inputs.UpdateMembershipTypeInput,
        "MembershipType",
        "Change a membership type.",
    )
    clone_membership_type_for_frequency = does(
        catalogue_changes.clone_membership_type_for_frequency,
        inputs.CloneMembershipTypeInput,
        "MembershipType",
        "Offer the same membership for the other way of paying: recurring and fixed are two types.",
    )
    map_course = does(
        mappings.map_course,
        inputs.MapCourseInput,
        "CourseMapping",
        "Sell a course of CoursePro at a price; believed once a valid cart used it.",
    )

    start_membership = does(
        memberships.start_membership,
        inputs.StartMembershipInput,
        "Membership",
        "Sell a membership; it is pending until its money is sure.",
    )
    cancel_membership = _moves(
        "cancel_membership", Cause.CANCELLED_BY_STAFF, "End a membership; no further fees are taken."
    )
    suspend_membership = _moves("suspend_membership", Cause.SUSPENDED_BY_STAFF, "Shut the door of a membership.")
    reinstate_membership = _moves("reinstate_membership", Cause.RESOLVED_BY_STAFF, "Lift a suspension.")
    complete_membership = _moves(
        "complete_membership", Cause.COMPLETED_BY_STAFF, "Say that a membership has run its course."
    )
    sync_membership = does(
        memberships.push_again,
        inputs.MembershipInput,
        "Membership",
        "Tell the course system a membership's standing once more.",
        verb="sync_membership",
    )

    create_course = does(courses.create_course, inputs.CreateCourseInput, "Course", "Offer a course of classes.")
    update_course = does(courses.update_course, inputs.UpdateCourseInput, "Course", "Change a course.")
    book_course = done_by(
        book,
        inputs.BookCourseInput,
        "Booking",
        "Book every class of a course that is still to come.",
        verb="book_course",
        quote=new_quote,
    )
    move_booking = done_by(
        move,
        inputs.MoveBookingInput,
        "Booking",
        "Change a confirmed booking for one of another course; the difference is charged or refunded.",
        verb="move_booking",
        whose=bookings.owner,
        quote=new_quote,
    )
    cancel_booking = does(
        cancellations.cancel_booking,
        inputs.BookingInput,
        "Booking",
        "End a booking; credits and money come back as its course's policy says.",
        verb="cancel_booking",
        whose=bookings.owner,
    )
    delete_class_session = does(
        cancellations.delete_class_session,
        inputs.ClassSessionInput,
        "ClassSession",
        "Take a class out of its course; who booked it gets back what the course's policy says.",
    )
    join_waiting_list = does(
        waiting.join_waiting_list, inputs.JoinWaitingListInput, "WaitingPlace", "Wait for a place on a full course."
    )
    leave_waiting_list = does(
        waiting.leave_waiting_list,
        inputs.LeaveWaitingListInput,
        "WaitingPlace",
        "Wait no longer; an offered place goes to the next.",
        whose=waiting.whose,
    )
    mark_attendance = does(
        attendances.mark_attendance, inputs.MarkAttendanceInput, "Attendance", "Say whether a person came to a class."
    )
    choose_invoice = does(
        attendances.choose_invoice,
        inputs.ChooseInvoiceInput,
        "Attendance",
        "Choose which of several invoices pays for an attendance, or leave it to the rule again.",
    )
    create_package_offer = does(
        offers.create_package_offer, inputs.CreatePackageOfferInput, "PackageOffer", "Put a pack of credits on sale."
    )
    buy_package = does(
        offers.buy_package,
        inputs.BuyPackageInput,
        "Package",
        "Sell a pack of credits; it is empty until its money is in.",
    )
    grant_package = does(packages.grant_package, inputs.GrantPackageInput, "Package", "Give a user a pack of credits.")

    start_direct_debit = does(
        mandates.start_mandate,
        inputs.StartDirectDebitInput,
        "Mandate",
        "Set up a direct debit; the job's result is the page to sign it at.",
        verb="start_direct_debit",
    )
    cancel_mandate = does(
        mandates.cancel_mandate,
        inputs.CancelMandateInput,
        "Mandate",
        "Cancel a direct debit; what it pays is suspended until another pays it.",
        whose=mandates.owner,
    )
    collect_payment = does(
        payments.collect_fee,
        inputs.CollectPaymentInput,
        "Payment",
        "Ask for a membership's fee of one period by direct debit, once.",
        verb="collect_payment",
    )
    retry_payment = does(
        dunning.retry_payment, inputs.PaymentInput, "Payment", "Ask again for a failed fee or package."
    )
    settle_arrears = does(
        arrears.settle_arrears,
        inputs.SettleArrearsInput,
        "Membership",
        "Settle what a membership owes: by card now, by giving it up, or on top of its next fee.",
    )
    configure_billing = does(
        billing_policy.configure_billing,
        inputs.ConfigureBillingInput,
        "BillingPolicy",
        "Say when fees are asked for, and what follows a failure; what is left out stays.",
    )
    refund_payment = does(
        refunds.refund_payment,
        inputs.RefundPaymentInput,
        "Refund",
        "Give back a part of a payment, or all that is left of it, the way it came.",
    )

    create_payment_link = done_by(
        _create_payment_link,
        inputs.CreatePaymentLinkInput,
        "MembershipType",
        "Have a page made to subscribe at; the job's result is its address.",
        verb="create_payment_link",
    )
    link_subscription = does(
        subscriptions.link_subscription,
        inputs.LinkSubscriptionInput,
        "CardSubscription",
        "Say whose card subscription it is.",
    )
    allocate_invoice = does(
        invoices.allocate_invoice,
        inputs.InvoiceInput,
        "Invoice",
        "Spread an invoice anew over the classes it paid for.",
    )
    bill_off_invoice = does(
        invoices.bill_off,
        inputs.InvoiceInput,
        "Invoice",
        "Freeze an invoice's allocation and ship it, once its period is over.",
        verb="bill_off_invoice",
    )
    ship_invoice = does(
        shipments.ship_again,
        inputs.InvoiceInput,
        "Invoice",
        "Try the missing shipments of a billed-off invoice now.",
        verb="ship_invoice",
    )

    apply_correction = does(
        corrections.apply_correction,
        inputs.ApplyCorrectionInput,
        "Correction",
        "Put right what was shipped of an invoice that changed after it was billed off.",
    )
    dismiss_correction = does(
        corrections.dismiss_correction,
        inputs.DismissCorrectionInput,
        "Correction",
        "Leave what was shipped as it is.",
    )

    report_drift = done_by(
        _report_drift,
        inputs.ReportDriftInput,
        "Job",
        "Compare invoices with what stands elsewhere; what differs is in `drifts`, with the job in its `cause`.",
        verb="report_drift",
    )
    repair_drift = done_by(
        _repair_drift,
        inputs.RepairDriftInput,
        "Job",
        "Put right what differs elsewhere, in the direction of the field's owner; or say what that would be.",
        verb="repair_drift",
        repairs=_repairs,
    )

    configure_provider = done_by(
        _configures(settings.configure_provider),
        inputs.ConfigureProviderInput,
        "ProviderSetting",
        "Say how a provider is reached.",
        verb="configure_provider",
    )
    configure_course_pro = done_by(
        _configures(coursepro_setup.configure_coursepro),
        inputs.ConfigureCourseProInput,
        "ProviderSetting",
        "Enter CoursePro's credentials, and switch the sync of users.",
        verb="configure_course_pro",
    )
    run_integration_probe = done_by(
        _run_probe,
        inputs.RunIntegrationProbeInput,
        "Job",
        "Look for what proves a trial purchase; the job writes a row of `probeRuns`.",
        verb="run_integration_probe",
    )
    create_api_key = done_by(
        _create_api_key,
        inputs.CreateApiKeyInput,
        "ApiKey",
        "Make a key for a caller.",
        verb="create_api_key",
        token=_token,
    )
    rotate_api_key = done_by(
        _rotate_api_key,
        inputs.RotateApiKeyInput,
        "ApiKey",
        "Give a key another secret; the one before stays good for a while.",
        verb="rotate_api_key",
        token=_token,
    )
    revoke_api_key = done_by(
        _revoke_api_key,
        inputs.ApiKeyInput,
        "ApiKey",
        "End a key at once, and what is open under it.",
        verb="revoke_api_key",
    )
    retry_job = done_by(_retry_job, inputs.JobInput, "Job", "Let a dead or cancelled job run again.", verb="retry_job")
    cancel_job = done_by(_cancel_job, inputs.JobInput, "Job", "Take a waiting job out of the queue.", verb="cancel_job")
    replay_webhook = does(
        inbound.replay, inputs.WebhookInput, "WebhookEvent", "Apply a stored webhook once more.", verb="replay_webhook"
    )
    create_webhook_endpoint = done_by(
        partners.create_endpoint,
        inputs.CreateWebhookEndpointInput,
        "WebhookEndpoint",
        "Have an address told what happens from now on.",
        verb="create_webhook_endpoint",
        token=partners.secret,
    )
    update_webhook_endpoint = done_by(
        partners.update_endpoint,
        inputs.UpdateWebhookEndpointInput,
        "WebhookEndpoint",
        "Change an endpoint; what is left out stays.",
        verb="update_webhook_endpoint",
    )
    rotate_webhook_secret = done_by(
        partners.rotate_secret,
        inputs.WebhookEndpointInput,
        "WebhookEndpoint",
        "Give an endpoint a fresh secret; for a day its messages are signed with the one before as well.",
        verb="rotate_webhook_secret",
        token=partners.secret,
    )
    enable_webhook_endpoint = done_by(
        partners.own(webhook_endpoints.enable_webhook_endpoint),
        inputs.WebhookEndpointInput,
        "WebhookEndpoint",
        "Switch an endpoint on again; what happened meanwhile is not sent.",
        verb="enable_webhook_endpoint",
    )
    disable_webhook_endpoint = done_by(
        partners.own(webhook_endpoints.disable_webhook_endpoint),
        inputs.WebhookEndpointInput,
        "WebhookEndpoint",
        "Send an endpoint nothing any more.",
        verb="disable_webhook_endpoint",
    )
    redeliver_webhook = done_by(
        partners.own(webhook_messages.redeliver_webhook),
        inputs.RedeliverWebhookInput,
        "WebhookMessage",
        "Send a message once more, under its own `webhook-id`.",
        verb="redeliver_webhook",
    )
    redeliver_webhooks = done_by(
        partners.own(webhook_messages.redeliver_webhooks),
        inputs.RedeliverWebhooksInput,
        "WebhookEndpoint",
        "Send an endpoint its failed messages since an instant once more, the oldest 1000 of them.",
        verb="redeliver_webhooks",
    )
    send_test_webhook = done_by(
        partners.own(webhook_messages.send_test_webhook),
        inputs.WebhookEndpointInput,
        "WebhookMessage",
        "Send an endpoint a message about nothing.",
        verb="send_test_webhook",
    )
    users_export = done_by(
        partners.writes(ExportKind.USERS),
        inputs.UsersExportInput,
        "Job",
        "Write users to a file; the job's result is a link to it, good for a day.",
        verb="users_export",
    )
    memberships_export = done_by(
        partners.writes(ExportKind.MEMBERSHIPS),
        inputs.MembershipsExportInput,
        "Job",
        "Write memberships to a file; the job's result is a link to it, good for a day.",
        verb="memberships_export",
    )
    invoices_export = done_by(
        partners.writes(ExportKind.INVOICES),
        inputs.InvoicesExportInput,
        "Job",
        "Write invoices to a file; the job's result is a link to it, good for a day.",
        verb="invoices_export",
    )
    advance_clock = done_by(
        _advance_clock,
        inputs.AdvanceClockInput,
        "Job",
        "Move the sandbox's clock; only on one machine.",
        verb="advance_clock",
    )
