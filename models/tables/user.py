"""People, the configurable fields they carry, and the outside records they are tied to (R50-R57)."""

from uuid import UUID

from tortoise import fields

from models.rules.states import LinkState, Provider, UserState
from models.tables.row import Row, belongs_to, check, choice, document, one_of, unique


class User(Row):
    """A person. `email_key` is the normalised address matching works on; `fields` holds the configured extra fields."""

    first_name = fields.CharField(max_length=60)
    last_name = fields.CharField(max_length=60)
    email = fields.CharField(max_length=254)
    email_key = fields.CharField(max_length=254, db_index=True)
    phone = fields.CharField(max_length=25, null=True)
    date_of_birth = fields.DateField(null=True)
    state: UserState = choice(UserState, default=UserState.ACTIVE)
    fields_ = document(source_field="fields", default=dict)
    version = fields.IntField(default=1)

    class Meta:
        table = "user_account"
        constraints = (
            one_of("user_account", "state", UserState),
            check("user_account_version_rises", "version >= 1"),
        )
        indexes = (
            ("last_name", "first_name", "id"),
            ("state", "id"),
            ("last_name", "id"),
            ("first_name", "id"),
            ("created_at", "id"),
        )


class UserField(Row):
    """A field the operator collects beside the fixed ones; `version` rises with each change of the set (R56)."""

    name = fields.CharField(max_length=40, unique=True)
    label = fields.CharField(max_length=80)
    required = fields.BooleanField(default=False)
    version = fields.IntField(default=1)

    class Meta:
        table = "user_field"


class ExternalLink(Row):
    """A user's record in another system, e.g. (STRIPE, "customer", "cus_1"); undone links stay, with their evidence."""

    user_id: UUID
    user = belongs_to("User", "links")
    provider: Provider = choice(Provider)
    kind = fields.CharField(max_length=24)
    external_id = fields.CharField(max_length=255)
    state: LinkState = choice(LinkState, default=LinkState.LINKED)
    evidence = document(default=dict)

    class Meta:
        table = "external_link"
        constraints = (
            one_of("external_link", "provider", Provider),
            one_of("external_link", "state", LinkState),
            unique("external_link_once", "provider", "kind", "external_id", where="state <> 'UNLINKED'"),
            unique("external_link_one_per_user", "user_id", "provider", "kind", where="state <> 'UNLINKED'"),
        )
        indexes = (("user_id", "id"),)
