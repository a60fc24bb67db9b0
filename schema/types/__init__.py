"""The types, by area; importing this package declares all of them."""

from schema.types.billing import BillingPolicy
from schema.types.books import LedgerEntry
from schema.types.catalogue import (
    Centre,
    ClassType,
    Coverage,
    MembershipType,
    PaymentOption,
    PriceOverride,
    PricingOption,
    SettingGroup,
)
from schema.types.courses import (
    Attendance,
    Booking,
    ClassSession,
    Course,
    CreditEntry,
    Package,
    PackageOffer,
    WaitingPlace,
)
from schema.types.going_live import ProbeRun
from schema.types.mapping import CourseMapping, Drift
from schema.types.memberships import CardSubscription, Mandate, Membership
from schema.types.operations import AccessToken, ApiKey, AuditEntry, Job, ProviderSetting, WebhookEvent
from schema.types.partners import WebhookEndpoint, WebhookMessage
from schema.types.payments import (
    Allocation,
    AllocationShare,
    Correction,
    Invoice,
    InvoiceItem,
    Payment,
    Refund,
    Shipment,
)
from schema.types.people import ExternalLink, Notification, ReviewItem, User, UserField
from schema.types.shared import Money, NamedValue, Step

TYPES = (
    AccessToken,
    Allocation,
    AllocationShare,
    ApiKey,
    Attendance,
    AuditEntry,
    BillingPolicy,
    Booking,
    CardSubscription,
    Centre,
    ClassSession,
    ClassType,
    Correction,
    Course,
    CourseMapping,
    Coverage,
    CreditEntry,
    Drift,
    ExternalLink,
    Invoice,
    InvoiceItem,
    Job,
    LedgerEntry,
    Mandate,
    Membership,
    MembershipType,
    Notification,
    Package,
    PackageOffer,
    Payment,
    PaymentOption,
    PriceOverride,
    PricingOption,
    ProbeRun,
    ProviderSetting,
    Refund,
    ReviewItem,
    SettingGroup,
    Shipment,
    User,
    UserField,
    WaitingPlace,
    WebhookEndpoint,
    WebhookEvent,
    WebhookMessage,
)

__all__ = [*(each.__name__ for each in TYPES), "TYPES", "Money", "NamedValue", "Step"]
