"""Provider settings with their secrets encrypted, API keys by hash, and the sandbox's clock."""

from uuid import UUID

from tortoise import fields

from models.rules.dunning import SuspendOn
from models.rules.fees import FirstPeriod
from models.rules.lifecycle import WhileSuspended
from models.rules.states import KeyPurpose, Provider, Role
from models.tables.row import Row, belongs_to, check, choice, document, one_of


class ProviderSetting(Row):
    """How one provider is reached. `secrets` is one encrypted JSON object; `hints` shows each secret's last four."""

    provider: Provider = choice(Provider, unique=True)
    settings = document(default=dict)
    secrets = fields.TextField()
    hints = document(default=dict)
    enabled = fields.BooleanField(default=True)
    version = fields.IntField(default=1)

    class Meta:
        table = "provider_setting"
        constraints = (one_of("provider_setting", "provider", Provider),)


class ApiKey(Row):
    """A caller's key: the public part is looked up, the secret part is compared by hash (shown once, never stored).

    While it is changed for another, the one before is good until `previous_until`.
    """

    name = fields.CharField(max_length=80)
    public_part = fields.CharField(max_length=16, unique=True)
    secret_hash = fields.CharField(max_length=64)
    previous_hash = fields.CharField(max_length=64, null=True)
    previous_until = fields.DatetimeField(null=True)
    role: Role = choice(Role)
    purpose: KeyPurpose = choice(KeyPurpose, default=KeyPurpose.API)
    scopes = document(default=list)
    user_id: UUID | None
    user = belongs_to("User", "api_keys", null=True)
    expires_at = fields.DatetimeField(null=True)
    revoked_at = fields.DatetimeField(null=True)

    class Meta:
        table = "api_key"
        constraints = (
            one_of("api_key", "role", Role),
            one_of("api_key", "purpose", KeyPurpose),
            check("api_key_member_has_user", "role <> 'MEMBER' OR user_id IS NOT NULL"),
            check("api_key_previous_ends", "(previous_hash IS NULL) = (previous_until IS NULL)"),
        )


class SandboxClock(Row):
    """How far the sandbox's clock runs ahead of the real one; one row at most, none in production."""

    single = fields.BooleanField(default=True, unique=True)
    ahead_seconds = fields.BigIntField(default=0)

    class Meta:
        table = "sandbox_clock"
        constraints = (
            check("sandbox_clock_is_one", "single"),
            check("sandbox_clock_only_forward", "ahead_seconds >= 0"),
        )


class BillingPolicy(Row):
    """How fees are asked for and what follows a failure; one row at most, the defaults where there is none.

    `retry_after_days` holds the working days to wait after the first, second and each further failure; `ahead_days` is
    how many working days before its day a fee is prepared; `billing_day` the day of the month new memberships are
    charged on, None for their anniversary; `grace_hours` the time for late marks before an invoice is billed off.
    """

    single = fields.BooleanField(default=True, unique=True)
    suspend_on: SuspendOn = choice(SuspendOn, default=SuspendOn.FIRST_FAILURE)
    while_suspended: WhileSuspended = choice(WhileSuspended, default=WhileSuspended.HOLD)
    retry_after_days = document()
    ahead_days = fields.IntField(default=10)
    billing_day = fields.IntField(null=True)
    first_period: FirstPeriod = choice(FirstPeriod, default=FirstPeriod.FULL)
    grace_hours = fields.IntField(default=0)

    class Meta:
        table = "billing_policy"
        constraints = (
            check("billing_policy_is_one", "single"),
            one_of("billing_policy", "suspend_on", SuspendOn),
            one_of("billing_policy", "while_suspended", WhileSuspended),
            one_of("billing_policy", "first_period", FirstPeriod),
            check("billing_policy_ahead", "ahead_days BETWEEN 0 AND 60"),
            check("billing_policy_day_known", "billing_day BETWEEN 1 AND 31"),
            check("billing_policy_grace", "grace_hours BETWEEN 0 AND 720"),
        )
