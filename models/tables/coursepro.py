"""What stands between us and the course system: prices of its courses, what it was told, what a person decides."""

from uuid import UUID

from tortoise import fields

from models.rules.states import Probe, Provider, ReviewKind, ReviewState
from models.tables.row import Row, belongs_to, choice, document, one_of, unique


class CourseMapping(Row):
    """A course of the course system and the price it is sold at; believed once a valid cart used it (R8, R32)."""

    course_ref = fields.CharField(max_length=64, unique=True)
    pricing_option_id: UUID
    pricing_option = belongs_to("PricingOption", "course_mappings")
    membership_type_id: UUID
    membership_type = belongs_to("MembershipType", "course_mappings")
    centre_id: UUID
    centre = belongs_to("Centre", "course_mappings")
    verified_at = fields.DatetimeField(null=True)

    class Meta:
        table = "course_mapping"


class UserSync(Row):
    """What the course system was last told of a linked user; what differs from the record now is still to be told."""

    user_id: UUID
    user = belongs_to("User", "sync", single=True)
    told = document(default=dict)
    told_version = fields.IntField(default=0)
    told_at = fields.DatetimeField(null=True)

    class Meta:
        table = "user_sync"


class Drift(Row):
    """Something another system said that is not what we know, and was not taken over (R1, R45)."""

    provider: Provider = choice(Provider)
    subject_type = fields.CharField(max_length=40)
    subject_id = fields.UUIDField()
    field = fields.CharField(max_length=40)
    ours = fields.TextField(null=True)
    theirs = fields.TextField(null=True)
    cause = fields.CharField(max_length=255)
    at = fields.DatetimeField()

    class Meta:
        table = "drift"
        constraints = (
            one_of("drift", "provider", Provider),
            unique("drift_once", "provider", "cause", "subject_id", "field"),
        )
        indexes = (("subject_id", "id"), ("provider", "id"), ("field", "id"), ("cause", "id"), ("at", "id"))


class ReviewItem(Row):
    """A question a person has to decide: whose record it is, or what to do with money that came too late."""

    kind: ReviewKind = choice(ReviewKind)
    state: ReviewState = choice(ReviewState, default=ReviewState.OPEN)
    provider: Provider = choice(Provider)
    subject = fields.CharField(max_length=255)
    user_id: UUID | None
    user = belongs_to("User", "review_items", null=True)
    evidence = document(default=dict)
    answer = fields.CharField(max_length=255, null=True)

    class Meta:
        table = "review_item"
        constraints = (
            one_of("review_item", "kind", ReviewKind),
            one_of("review_item", "state", ReviewState),
            one_of("review_item", "provider", Provider),
            unique("review_item_open_once", "kind", "provider", "subject", where="state = 'OPEN'"),
        )
        indexes = (("state", "id"), ("kind", "id"), ("user_id", "id"), ("created_at", "id"))


class RecordClaim(Row):
    """A link sent to the address of a known person who signs up again; used once, for a while (R54)."""

    user_id: UUID
    user = belongs_to("User", "record_claims")
    token_hash = fields.CharField(max_length=64, unique=True)
    expires_at = fields.DatetimeField()
    used_at = fields.DatetimeField(null=True)

    class Meta:
        table = "record_claim"
        indexes = (("user_id", "id"),)


class ProbeRun(Row):
    """A trial purchase from one side, with the ids that prove what became of it (R78, R80)."""

    probe: Probe = choice(Probe)
    passed = fields.BooleanField()
    evidence = document(default=dict)
    at = fields.DatetimeField()

    class Meta:
        table = "probe_run"
        constraints = (one_of("probe_run", "probe", Probe),)
        indexes = (("probe", "id"),)
