"""What mutations take. A field named `<thing>_id` holds the global id of that thing; the glue in `doing` decodes it."""

from datetime import date, datetime
from typing import Any

import strawberry

from models.rules.arrears import SettleBy
from models.rules.booking import Basis, Method, Pricing
from models.rules.corrections import Proposal
from models.rules.dunning import SuspendOn
from models.rules.fees import FirstPeriod
from models.rules.invoicing import Mark
from models.rules.lifecycle import WhileSuspended
from models.rules.partners import ExportFormat, WebhookTopic
from models.rules.pricing import Frequency, Integration, MembershipKind, OptionType
from models.rules.returns import CancellationPolicy, DeletionPolicy
from models.rules.states import KeyPurpose, Probe, Provider, Role
from schema import enums  # noqa: F401  importing it names the words that inputs take
from schema.filters import InvoiceFilter, MembershipFilter, UserFilter
from schema.scalars import CurrencyCode, Decimal

ID_OF = "id_of"
AS = "as"
CLEARS = "clears"


def ask(description: str, *, default: Any = strawberry.UNSET, taken_as: str | None = None, clears: bool = False) -> Any:
    """A field that may be left out where its type says so; `taken_as` is the action's word for it.

    A null is as if it were left out, or takes away what is there where it `clears`.
    """
    return strawberry.field(description=description, default=default, metadata={AS: taken_as, CLEARS: clears})


def need(description: str, *, taken_as: str | None = None) -> Any:
    """A field that must be given."""
    return strawberry.field(description=description, metadata={AS: taken_as})


def id_of(target: str, description: str, *, optional: bool = False) -> Any:
    """A field with the global id, or ids, of a thing of type `target`."""
    options: dict[str, Any] = {"default": strawberry.UNSET} if optional else {}
    return strawberry.field(description=description, metadata={ID_OF: target}, **options)


def _endpoint(description: str) -> Any:
    return strawberry.field(name="webhookEndpointId", description=description, metadata={ID_OF: "WebhookEndpoint"})


@strawberry.input(description="An amount of one currency.")
class MoneyInput:
    """Money as a client writes it."""

    amount: Decimal = need('A decimal number with no more digits than the currency has: "20.00".')
    currency: CurrencyCode = need("Of which currency.")


@strawberry.input(description="A name with its value.")
class NamedValueInput:
    """One entry of a small record."""

    name: str = need("The name.")
    value: str = need("The value.")


@strawberry.input(description="A person to write down.")
class CreateUserInput:
    """See `users.create_user`."""

    first_name: str = need("The given name.")
    last_name: str = need("The family name.")
    email: str = need("Where messages go; several people may share one address.")
    phone: str | None = ask("A telephone number.")
    date_of_birth: date | None = ask("The day of birth.")
    fields: list[NamedValueInput] | None = ask("The values of the configured fields.")


@strawberry.input(description="A person who signs up.")
class SignUpInput(CreateUserInput):
    """See `claims.sign_up`."""


@strawberry.input(description="A link that was sent to a person who is known.")
class ClaimRecordInput:
    """See `claims.claim_record`."""

    token: str = need("The token at the end of the link.")


@strawberry.input(description="What to change of a person; what is left out stays.")
class UpdateUserInput:
    """See `users.update_user`."""

    user_id: strawberry.ID = id_of("User", "Whom.")
    first_name: str | None = ask("The given name.")
    last_name: str | None = ask("The family name.")
    email: str | None = ask("Where messages go.")
    phone: str | None = ask("A telephone number; null takes it away.", clears=True)
    date_of_birth: date | None = ask("The day of birth; null takes it away.", clears=True)
    fields: list[NamedValueInput] | None = ask("Values of the configured fields; an empty one takes the value away.")


@strawberry.input(description="A field to collect of people.")
class SetUserFieldInput:
    """See `user_fields.set_user_field`."""

    name: str = need("What it is called in `User.fields`: small letters, digits and underscores.")
    label: str = need("What people read.")
    required: bool = need("Whether a user cannot be without it.")


@strawberry.input(description="A field that is collected no longer.")
class RemoveUserFieldInput:
    """See `user_fields.remove_user_field`."""

    name: str = need("What it is called.")


@strawberry.input(description="A tie to undo.")
class UnlinkUserInput:
    """See `links.unlink_user`."""

    external_link_id: strawberry.ID = id_of("ExternalLink", "Which tie.")
    reason: str = need("Why; it is kept with what the tie was decided by.")


@strawberry.input(description="The answer to a question that was left to a person.")
class SettleReviewInput:
    """See `reviews.settle_review`."""

    review_item_id: strawberry.ID = id_of("ReviewItem", "Which question.")
    user_id: strawberry.ID | None = id_of("User", "Whose record it is; somebody new's, if left out.", optional=True)
    answer: str | None = ask(
        "What was decided: in words about money; about a patient the chosen one's id, or NONE where it is none of them."
    )


@strawberry.input(description="Whom to tell of users.")
class SyncUsersInput:
    """See `user_sync.sync_users`."""

    provider: Provider = need("The system that is told of users: COURSEPRO.")


@strawberry.input(description="A tie between a user and their record in another system.")
class LinkUserInput:
    """See `users.link_external`."""

    user_id: strawberry.ID = id_of("User", "Whose record it is.")
    provider: Provider = need("Which system.")
    kind: str = need('What kind of record: "customer", "payment_method" or "patient".')
    external_id: str = need("Its id there.")


@strawberry.input(description="A group of centres that share settings.")
class CreateSettingGroupInput:
    """See `catalogue.create_setting_group`."""

    name: str = need("Its name.")


@strawberry.input(description="A place to open.")
class CreateCentreInput:
    """See `catalogue.create_centre`."""

    name: str = need("Its name.")
    zone: str = need('Its time zone, as the tz database names it: "Europe/London".')
    currency: CurrencyCode = need("The currency of its prices.")
    setting_group_id: strawberry.ID | None = id_of("SettingGroup", "The group it shares prices with.", optional=True)
    practice_location: str | None = ask("Its location id in the practice system.")
    minutes_before: int | None = ask("How many minutes before a class its gates open; 30 if left out.")
    minutes_after: int | None = ask("How many minutes after a class they shut; 30 if left out.")


@strawberry.input(description="A centre to change; what is left out stays.")
class UpdateCentreInput:
    """See `access.update_centre`."""

    centre_id: strawberry.ID = id_of("Centre", "Which centre.")
    minutes_before: int | None = ask("How many minutes before a class its gates open.")
    minutes_after: int | None = ask("How many minutes after a class they shut.")


@strawberry.input(description="A fee.")
class CreatePricingOptionInput:
    """See `catalogue.create_pricing_option`."""

    name: str = need("Its name.")
    option_type: OptionType = strawberry.field(name="type", description="What it is for.", metadata={AS: None})
    frequency: Frequency = need("How often it is paid.")
    price: MoneyInput = need("What it costs where nothing overrides it; nothing for a free course.")


@strawberry.input(description="Another amount for one centre or one setting group.")
class SetPriceOverrideInput:
    """See `catalogue.set_price_override`."""

    pricing_option_id: strawberry.ID = id_of("PricingOption", "Which fee.")
    centre_id: strawberry.ID | None = id_of("Centre", "The centre it is for.", optional=True)
    setting_group_id: strawberry.ID | None = id_of("SettingGroup", "Or the group it is for.", optional=True)
    amount: int = need("The amount in minor units of the option's currency.")
    effective_from: date | None = ask("The first day it holds; always, if left out.")
    effective_until: date | None = ask("The first day it no longer holds.")


@strawberry.input(description="A membership that can be bought.")
class CreateMembershipTypeInput:
    """See `catalogue.create_membership_type`."""

    name: str = need("Its name.")
    integration: Integration = need("The outside system it works with; cannot be changed later.")
    kind: MembershipKind = need("Open-ended, of a fixed term, or a number of sessions.")
    pricing_option_ids: list[strawberry.ID] | None = id_of("PricingOption", "What may be paid for it.", optional=True)
    class_type_ids: list[strawberry.ID] | None = id_of("ClassType", "The classes it covers from now on.", optional=True)
    term_months: int | None = ask("How many months a fixed term has; 3 if left out.")
    sessions: int | None = ask("How many sessions are bought.")
    credits_per_period: int | None = ask("How many credits it grants for each month of it.")
    product: str | None = ask("The card provider's product whose subscriptions it stands for.")
    centre_id: strawberry.ID | None = id_of("Centre", "Where the product's memberships belong.", optional=True)


@strawberry.input(description="What to change of a fee; what is left out stays.")
class UpdatePricingOptionInput:
    """See `catalogue_changes.update_pricing_option`."""

    pricing_option_id: strawberry.ID = id_of("PricingOption", "Which fee.")
    name: str | None = ask("Its name.")
    option_type: OptionType | None = strawberry.field(
        name="type", description="What it is for.", default=strawberry.UNSET, metadata={AS: None}
    )
    amount: int | None = ask("What it costs from now on, in minor units; what was sold keeps its price.")


@strawberry.input(description="What to change of a membership type; what is left out stays.")
class UpdateMembershipTypeInput:
    """See `catalogue_changes.update_membership_type`."""

    membership_type_id: strawberry.ID = id_of("MembershipType", "Which membership type.")
    name: str | None = ask("Its name.")
    integration: Integration | None = ask("The outside system; another one than it was made with is refused.")
    class_type_ids: list[strawberry.ID] | None = id_of(
        "ClassType", "All the classes it covers from now on; classes of before are judged as they were.", optional=True
    )
    product: str | None = ask("The card provider's product it stands for, where it has none yet.")
    centre_id: strawberry.ID | None = id_of("Centre", "Where the product's memberships belong.", optional=True)


@strawberry.input(description="The same membership for the other way of paying.")
class CloneMembershipTypeInput:
    """See `catalogue_changes.clone_membership_type_for_frequency`."""

    membership_type_id: strawberry.ID = id_of("MembershipType", "Which membership type.")
    pricing_option_id: strawberry.ID = id_of("PricingOption", "What is paid for the new one.")
    kind: MembershipKind = need("Open-ended, of a fixed term, or a number of sessions; not as it is now.")
    name: str | None = ask("Its name; made of the other's, if left out.")
    term_months: int | None = ask("How many months a fixed term has; 3 if left out.")
    sessions: int | None = ask("How many sessions are bought.")


@strawberry.input(description="A course of the course system and the price it is sold at.")
class MapCourseInput:
    """See `mappings.map_course`."""

    course_ref: str = need("The course's id in the course system.")
    pricing_option_id: strawberry.ID = id_of("PricingOption", "At which price.")
    centre_id: strawberry.ID = id_of("Centre", "The course's centre.")


@strawberry.input(description="A membership to sell.")
class StartMembershipInput:
    """See `memberships.start_membership`."""

    user_id: strawberry.ID = id_of("User", "Who it is for.")
    membership_type_id: strawberry.ID = id_of("MembershipType", "Which membership.")
    centre_id: strawberry.ID = id_of("Centre", "At which centre; it decides the price.")
    pricing_option_id: strawberry.ID = id_of("PricingOption", "Which of the membership's fees.")
    starts_on: date = need("The first day.")
    mandate_id: strawberry.ID | None = id_of("Mandate", "The direct debit that pays a recurring fee.", optional=True)
    course_ref: str | None = ask("The course system's id of the course.")


@strawberry.input(description="A membership.")
class MembershipInput:
    """A membership to move or to tell of."""

    membership_id: strawberry.ID = id_of("Membership", "Which membership.")


@strawberry.input(description="A direct debit to set up.")
class StartDirectDebitInput:
    """See `mandates.start_mandate`."""

    user_id: strawberry.ID = id_of("User", "Who pays.")
    currency: CurrencyCode = need("Of which currency its payments will be.")


@strawberry.input(description="A direct debit to cancel.")
class CancelMandateInput:
    """See `mandates.cancel_mandate`."""

    mandate_id: strawberry.ID = id_of("Mandate", "Which instruction.")
    reason: str = need("Why; it is kept.")


@strawberry.input(description="How to settle what a membership owes.")
class SettleArrearsInput:
    """See `arrears.settle_arrears`."""

    membership_id: strawberry.ID = id_of("Membership", "Whose arrears.")
    by: SettleBy = need("By card, by giving it up, or on top of the next fee.")
    reason: str = need("Why; it is kept.")


@strawberry.input(description="When fees are asked for, and what follows a failure. What is left out stays as it is.")
class ConfigureBillingInput:
    """See `billing_policy.configure_billing`."""

    suspend_on: SuspendOn | None = ask("Which failure suspends.")
    while_suspended: WhileSuspended | None = ask("Whether fees fall due during a suspension.")
    retry_after_days: list[int] | None = ask(
        "Working days to wait after the first, second and each further failure; empty for no retries."
    )
    ahead_days: int | None = ask("How many working days before its day a fee is prepared.")
    billing_day: int | None = ask("The day of the month new memberships are charged on; 0 for their anniversary.")
    first_period: FirstPeriod | None = ask("What a first period shorter than a month costs.")
    grace_hours: int | None = ask("Hours for late marks before an invoice is billed off.")


@strawberry.input(description="A page to subscribe at.")
class CreatePaymentLinkInput:
    """See `subscriptions.create_payment_link`."""

    membership_type_id: strawberry.ID = id_of("MembershipType", "Which membership.")
    user_id: strawberry.ID | None = id_of("User", "Who will sign up, where that is known.", optional=True)
    beneficiary_id: strawberry.ID | None = id_of("User", "Who will attend, where that is another.", optional=True)


@strawberry.input(description="Whose subscription it is.")
class LinkSubscriptionInput:
    """See `subscriptions.link_subscription`."""

    subscription_id: strawberry.ID = id_of("CardSubscription", "Which subscription.")
    user_id: strawberry.ID = id_of("User", "Whose it is: who pays.")
    beneficiary_id: strawberry.ID | None = id_of("User", "Who attends, where that is another.", optional=True)


@strawberry.input(description="When a class takes place.")
class ClassTimeInput:
    """One class of a course to create."""

    starts_at: datetime = need("When it starts.")
    ends_at: datetime = need("When it ends.")


@strawberry.input(description="A course to offer.")
class CreateCourseInput:
    """See `courses.create_course`."""

    name: str = need("Its name.")
    centre_id: strawberry.ID = id_of("Centre", "Where it is held.")
    pricing_option_id: strawberry.ID = id_of("PricingOption", "What the whole course costs.")
    pricing: Pricing = need("Whether a course that has begun still costs its full price.")
    capacity: int = need("How many places it has.")
    sessions: list[ClassTimeInput] = need("Its classes.")
    per_class_basis: Basis | None = ask("The classes its price is shared over.")
    package_joins_late: bool | None = ask("Whether a package alone may join it once it has begun; no, if left out.")
    on_cancellation: CancellationPolicy | None = ask("What a cancelled booking gives back.")
    on_deletion: DeletionPolicy | None = ask("What a class gives back that is deleted after it was booked.")
    notice_hours: int | None = ask("Classes that start this soon after a cancellation are not given back; 0.")
    offer_hours: int | None = ask("How long a free place is kept for the first on the waiting list; 24.")
    class_type_id: strawberry.ID | None = id_of("ClassType", "What kind of class it is.", optional=True)


@strawberry.input(description="What to change of a course; what is left out stays.")
class UpdateCourseInput:
    """See `courses.update_course`."""

    course_id: strawberry.ID = id_of("Course", "Which course.")
    name: str | None = ask("Its name.")
    capacity: int | None = ask("How many places it has; no fewer than are booked or offered.")
    per_class_basis: Basis | None = ask("The classes its price is shared over.")
    package_joins_late: bool | None = ask("Whether a package alone may join it once it has begun.")
    on_cancellation: CancellationPolicy | None = ask("What a cancelled booking gives back.")
    on_deletion: DeletionPolicy | None = ask("What a class gives back that is deleted after it was booked.")
    notice_hours: int | None = ask("Classes that start this soon after a cancellation are not given back.")
    offer_hours: int | None = ask("How long a place that came free is kept for the first on the waiting list.")


@strawberry.input(description="How a person's place in a class stands.")
class MarkAttendanceInput:
    """See `attendances.mark_attendance`."""

    attendance_id: strawberry.ID = id_of("Attendance", "Which place.")
    mark: Mark = need("Came, did not come, or expected; a place is cancelled with its booking.")


@strawberry.input(description="Which invoice pays for an attendance that several could.")
class ChooseInvoiceInput:
    """See `attendances.choose_invoice`."""

    attendance_id: strawberry.ID = id_of("Attendance", "Which attendance.")
    invoice_id: strawberry.ID | None = id_of(
        "Invoice", "The invoice that is to pay; left out or null, the rule decides again.", optional=True
    )


@strawberry.input(description="Somebody who waits for a place.")
class JoinWaitingListInput:
    """See `waiting.join_waiting_list`."""

    course_id: strawberry.ID = id_of("Course", "Which course.")
    user_id: strawberry.ID = id_of("User", "Who waits.")


@strawberry.input(description="A place in line.")
class LeaveWaitingListInput:
    """See `waiting.leave_waiting_list`."""

    waiting_place_id: strawberry.ID = id_of("WaitingPlace", "Which place.")


@strawberry.input(description="A place on a course.")
class BookCourseInput:
    """See `bookings.book_course`."""

    course_id: strawberry.ID = id_of("Course", "Which course.")
    user_id: strawberry.ID = id_of("User", "Who will attend.")
    method: Method = need("How it is paid.")
    package_id: strawberry.ID | None = id_of("Package", "The package to draw from; any, if left out.", optional=True)
    quote_token: str | None = ask("The token of a quote: just that is taken, or nothing.")


@strawberry.input(description="A booking.")
class BookingInput:
    """A booking to cancel."""

    booking_id: strawberry.ID = id_of("Booking", "Which booking.")


@strawberry.input(description="A booking, and the course it moves to.")
class MoveBookingInput:
    """See `moves.move_booking`."""

    booking_id: strawberry.ID = id_of("Booking", "Which booking.")
    course_id: strawberry.ID = id_of("Course", "The other course.")
    method: Method | None = ask("How it is paid there; as before, if left out.")
    package_id: strawberry.ID | None = id_of("Package", "The package to draw from; any, if left out.", optional=True)
    quote_token: str | None = ask("The token of a quote: just that is taken, or nothing.")


@strawberry.input(description="A class of a course.")
class ClassSessionInput:
    """A class session to delete."""

    class_session_id: strawberry.ID = id_of("ClassSession", "Which class.")


@strawberry.input(description="A pack of credits to put on sale.")
class CreatePackageOfferInput:
    """See `offers.create_package_offer`."""

    name: str = need("What it is called.")
    pricing_option_id: strawberry.ID = id_of("PricingOption", "What it costs; a fee that is paid once.")
    credits: int = need("How many credits it holds.")
    valid_days: int | None = ask("How many days they are valid once paid; without end, if left out.")
    class_type_id: strawberry.ID | None = id_of("ClassType", "The only kind of class they pay for.", optional=True)
    course_id: strawberry.ID | None = id_of("Course", "Or the only course.", optional=True)


@strawberry.input(description="A pack of credits to buy.")
class BuyPackageInput:
    """See `offers.buy_package`."""

    package_offer_id: strawberry.ID = id_of("PackageOffer", "Which pack.")
    user_id: strawberry.ID = id_of("User", "Who buys it.")
    centre_id: strawberry.ID = id_of("Centre", "At which centre; it decides the price.")
    mandate_id: strawberry.ID | None = id_of(
        "Mandate", "The direct debit that pays it; the stored card, if left out.", optional=True
    )


@strawberry.input(description="Credits to give.")
class GrantPackageInput:
    """See `packages.grant_package`."""

    user_id: strawberry.ID = id_of("User", "Who gets them.")
    name: str = need("What the package is called.")
    credits: int = need("How many.", taken_as="granted")
    valid_until: datetime | None = ask("From when on they are no longer valid; never, if left out.")
    class_type_id: strawberry.ID | None = id_of("ClassType", "The only kind of class they pay for.", optional=True)
    course_id: strawberry.ID | None = id_of("Course", "Or the only course.", optional=True)
    membership_id: strawberry.ID | None = id_of("Membership", "The membership they belong to.", optional=True)


@strawberry.input(description="A membership's fee of one period.")
class CollectPaymentInput:
    """See `payments.collect_fee`."""

    membership_id: strawberry.ID = id_of("Membership", "Whose fee.")
    period_start: date = need("The first day of the period it pays for.")


@strawberry.input(description="A payment.")
class PaymentInput:
    """A payment to ask for again."""

    payment_id: strawberry.ID = id_of("Payment", "Which payment.")


@strawberry.input(description="Money to give back.")
class RefundPaymentInput:
    """See `refunds.refund_payment`."""

    payment_id: strawberry.ID = id_of("Payment", "Of which payment.")
    amount: MoneyInput | None = ask("How much, in the payment's currency; all that is left, if left out.")
    reason: str = need("Why; the payer reads it beside the refund.")


@strawberry.input(description="An invoice.")
class InvoiceInput:
    """An invoice to spread, bill off or ship."""

    invoice_id: strawberry.ID = id_of("Invoice", "Which invoice.")


@strawberry.input(description="How a provider is reached.")
class ConfigureProviderInput:
    """See `settings.configure_provider`."""

    provider: Provider = need("Which provider.")
    settings: list[NamedValueInput] = need("Addresses, ids and switches; the documentation lists them.")
    secrets: list[NamedValueInput] = need("Keys and tokens, stored encrypted and never shown; left out, they stay.")
    enabled: bool = ask("Whether it is used.", default=True)


@strawberry.input(description="The CoursePro configuration; a credential that is left out stays as it is.")
class ConfigureCourseProInput:
    """See `coursepro_setup.configure_coursepro`."""

    user_sync_enabled: bool = need("Whether changes of users travel to CoursePro; needs all four credentials.")
    client_id: str | None = ask("The API client identifier CoursePro gave us.")
    cart_complete_url: str | None = ask("The webhook of CoursePro's that is told of paid carts; https.")
    secret_token: str | None = ask("The secret token of the API; stored encrypted, never shown again.")
    user_sync_url: str | None = ask("The webhook of CoursePro's that is told of users and statuses; https.")


@strawberry.input(description="A trial purchase.")
class RunIntegrationProbeInput:
    """See `probes.run_probe`."""

    probe: Probe = need("Of somebody born in CoursePro, or here.")


@strawberry.input(description="A key for a caller.")
class CreateApiKeyInput:
    """See `keys.create_api_key`."""

    name: str = need("Who or what uses it.")
    role: Role = need("What its caller may do.")
    purpose: KeyPurpose = ask("What it is for.", default=KeyPurpose.API)
    user_id: strawberry.ID | None = id_of("User", "The person it stands for; a member's key needs one.", optional=True)
    scopes: list[str] | None = ask("What it may do beyond its role: `money:read`.")
    expires_at: datetime | None = ask("From when on it is no longer accepted.")


@strawberry.input(description="A key.")
class ApiKeyInput:
    """A key to end."""

    key_id: strawberry.ID = id_of("ApiKey", "Which key.")


@strawberry.input(description="A key that gets another secret.")
class RotateApiKeyInput:
    """See `keys.rotate_api_key`."""

    key_id: strawberry.ID = id_of("ApiKey", "Which key.")
    overlap_hours: int = ask("For how many more hours the secret before it is good, 0 to 168.", default=24)


@strawberry.input(description="A job.")
class JobInput:
    """A job to run again or not at all."""

    job_id: strawberry.ID = id_of("Job", "Which job.")


@strawberry.input(description="A stored webhook.")
class WebhookInput:
    """A webhook to apply once more."""

    inbox_id: strawberry.ID = strawberry.field(
        name="webhookEventId", description="Which event.", metadata={ID_OF: "WebhookEvent"}
    )


@strawberry.input(description="An address that is to be told what happens.")
class CreateWebhookEndpointInput:
    """See `webhook_endpoints.create_webhook_endpoint`."""

    url: str = need("Where it is: an https address on the internet.")
    topics: list[WebhookTopic] = need("What it is told about; at least one.")
    description: str | None = ask("What it is for.")


@strawberry.input(description="What changes at an endpoint; what is left out stays.")
class UpdateWebhookEndpointInput:
    """See `webhook_endpoints.update_webhook_endpoint`."""

    endpoint_id: strawberry.ID = _endpoint("Which endpoint.")
    url: str | None = ask("Where it is from now on, for messages that wait as well.")
    topics: list[WebhookTopic] | None = ask("What it is told about from now on.")
    description: str | None = ask("What it is for.")


@strawberry.input(description="An endpoint.")
class WebhookEndpointInput:
    """An endpoint something is done to."""

    endpoint_id: strawberry.ID = _endpoint("Which endpoint.")


@strawberry.input(description="A message to send once more.")
class RedeliverWebhookInput:
    """See `webhook_messages.redeliver_webhook`."""

    message_id: strawberry.ID = strawberry.field(
        name="webhookMessageId", description="Which message.", metadata={ID_OF: "WebhookMessage"}
    )


@strawberry.input(description="Failed messages to send once more.")
class RedeliverWebhooksInput:
    """See `webhook_messages.redeliver_webhooks`."""

    endpoint_id: strawberry.ID = _endpoint("Of which endpoint.")
    since: datetime = need("Those written since then.")


@strawberry.input(description="Users to write to a file.")
class UsersExportInput:
    """See `exports.export`."""

    format: ExportFormat = need("How they are written out.")
    filter: UserFilter | None = ask("Which users; all the caller may see, if left out.")


@strawberry.input(description="Memberships to write to a file.")
class MembershipsExportInput:
    """See `exports.export`."""

    format: ExportFormat = need("How they are written out.")
    filter: MembershipFilter | None = ask("Which memberships; all the caller may see, if left out.")


@strawberry.input(description="Invoices to write to a file.")
class InvoicesExportInput:
    """See `exports.export`."""

    format: ExportFormat = need("How they are written out.")
    filter: InvoiceFilter | None = ask("Which invoices; all the caller may see, if left out.")


@strawberry.input(description="A later time.")
class AdvanceClockInput:
    """See `settings.advance_clock`."""

    to: datetime = need("The time it shall be.")


@strawberry.input(description="What to compare with what stands elsewhere.")
class ReportDriftInput:
    """See `drift_report.report_drift`."""

    providers: list[Provider] = need("Any of STRIPE, NOOKAL and XERO.")
    since: date | None = ask("Only invoices of a period that ended on this day or later.")


@strawberry.input(description="Differences to repair.")
class RepairDriftInput:
    """See `drift_report.repair_drift`."""

    drift_ids: list[strawberry.ID] = id_of("Drift", "Which ones, at most 100.")
    dry_run: bool | None = ask("Only say what would be done.")


@strawberry.input(description="A correction to apply.")
class ApplyCorrectionInput:
    """See `corrections.apply_correction`."""

    correction_id: strawberry.ID = id_of("Correction", "Which one.")
    proposal: Proposal | None = ask("How; as proposed, if left out.")


@strawberry.input(description="A correction that is not to be made.")
class DismissCorrectionInput:
    """See `corrections.dismiss_correction`."""

    correction_id: strawberry.ID = id_of("Correction", "Which one.")
    reason: str = need("Why, in at most 255 characters.")
