from tortoise import migrations
from tortoise.migrations import operations as ops
from models.tables.migrating import AddFilled, AtOnce
from models.rules.states import Probe, Provider, ReviewKind, ReviewState
from models.tables.row import new_id
from orjson import loads
from tortoise.fields.base import OnDelete
from tortoise.fields.data import JSON_DUMPS
from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint

# Tortoise keeps these in a model's state, but does not write them when it creates one.
CONSTRAINTS = [
    "ALTER TABLE drift ADD CONSTRAINT drift_provider_known CHECK (provider IN ('STRIPE', 'GOCARDLESS', 'COURSEPRO', 'NOOKAL', 'XERO'))",
    'ALTER TABLE drift ADD CONSTRAINT drift_once UNIQUE (provider, cause, subject_id, field)',
    "ALTER TABLE probe_run ADD CONSTRAINT probe_run_probe_known CHECK (probe IN ('BORN_THERE', 'BORN_HERE'))",
    "ALTER TABLE review_item ADD CONSTRAINT review_item_kind_known CHECK (kind IN ('USER_MATCH', 'REFUND_REVIEW'))",
    "ALTER TABLE review_item ADD CONSTRAINT review_item_state_known CHECK (state IN ('OPEN', 'SETTLED', 'DROPPED'))",
    "ALTER TABLE review_item ADD CONSTRAINT review_item_provider_known CHECK (provider IN ('STRIPE', 'GOCARDLESS', 'COURSEPRO', 'NOOKAL', 'XERO'))",
    "CREATE UNIQUE INDEX review_item_open_once ON review_item (kind, provider, subject) WHERE state = 'OPEN'",
]


class Migration(migrations.Migration):
    dependencies = [('models', '0003_credits_refunds_waiting')]

    initial = False

    operations = [AtOnce([
        ops.CreateModel(
            name='CourseMapping',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('course_ref', fields.CharField(unique=True, max_length=64)),
                ('pricing_option', fields.ForeignKeyField('models.PricingOption', source_field='pricing_option_id', db_constraint=True, to_field='id', related_name='course_mappings', on_delete=OnDelete.RESTRICT)),
                ('membership_type', fields.ForeignKeyField('models.MembershipType', source_field='membership_type_id', db_constraint=True, to_field='id', related_name='course_mappings', on_delete=OnDelete.RESTRICT)),
                ('centre', fields.ForeignKeyField('models.Centre', source_field='centre_id', db_constraint=True, to_field='id', related_name='course_mappings', on_delete=OnDelete.RESTRICT)),
                ('verified_at', fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'course_mapping', 'app': 'models', 'pk_attr': 'id', 'table_description': 'A course of the course system and the price it is sold at; believed once a valid cart used it (R8, R32).'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='Drift',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('provider', fields.CharEnumField(description='STRIPE: STRIPE\nGOCARDLESS: GOCARDLESS\nCOURSEPRO: COURSEPRO\nNOOKAL: NOOKAL\nXERO: XERO', enum_type=Provider, max_length=24)),
                ('subject_type', fields.CharField(max_length=40)),
                ('subject_id', fields.UUIDField()),
                ('field', fields.CharField(max_length=40)),
                ('ours', fields.TextField(null=True, unique=False)),
                ('theirs', fields.TextField(null=True, unique=False)),
                ('cause', fields.CharField(max_length=255)),
                ('at', fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'drift', 'app': 'models', 'constraints': [CheckConstraint(check="provider IN ('STRIPE', 'GOCARDLESS', 'COURSEPRO', 'NOOKAL', 'XERO')", name='drift_provider_known'), UniqueConstraint(fields=('provider', 'cause', 'subject_id', 'field'), name='drift_once')], 'indexes': [Index(fields=['subject_id', 'id'])], 'pk_attr': 'id', 'table_description': 'Something another system said that is not what we know, and was not taken over (R1, R45).'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='ProbeRun',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('probe', fields.CharEnumField(description='BORN_THERE: BORN_THERE\nBORN_HERE: BORN_HERE', enum_type=Probe, max_length=24)),
                ('passed', fields.BooleanField()),
                ('evidence', fields.JSONField(default=dict, encoder=JSON_DUMPS, decoder=loads)),
                ('at', fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'probe_run', 'app': 'models', 'constraints': [CheckConstraint(check="probe IN ('BORN_THERE', 'BORN_HERE')", name='probe_run_probe_known')], 'indexes': [Index(fields=['probe', 'id'])], 'pk_attr': 'id', 'table_description': 'A trial purchase from one side, with the ids that prove what became of it (R78, R80).'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='RecordClaim',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('user', fields.ForeignKeyField('models.User', source_field='user_id', db_constraint=True, to_field='id', related_name='record_claims', on_delete=OnDelete.RESTRICT)),
                ('token_hash', fields.CharField(unique=True, max_length=64)),
                ('expires_at', fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ('used_at', fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'record_claim', 'app': 'models', 'indexes': [Index(fields=['user_id', 'id'])], 'pk_attr': 'id', 'table_description': 'A link sent to the address of a known person who signs up again; used once, for a while (R54).'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='ReviewItem',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('kind', fields.CharEnumField(description='USER_MATCH: USER_MATCH\nREFUND_REVIEW: REFUND_REVIEW', enum_type=ReviewKind, max_length=24)),
                ('state', fields.CharEnumField(default=ReviewState.OPEN, description='OPEN: OPEN\nSETTLED: SETTLED\nDROPPED: DROPPED', enum_type=ReviewState, max_length=24)),
                ('provider', fields.CharEnumField(description='STRIPE: STRIPE\nGOCARDLESS: GOCARDLESS\nCOURSEPRO: COURSEPRO\nNOOKAL: NOOKAL\nXERO: XERO', enum_type=Provider, max_length=24)),
                ('subject', fields.CharField(max_length=255)),
                ('user', fields.ForeignKeyField('models.User', source_field='user_id', null=True, db_constraint=True, to_field='id', related_name='review_items', on_delete=OnDelete.RESTRICT)),
                ('evidence', fields.JSONField(default=dict, encoder=JSON_DUMPS, decoder=loads)),
                ('answer', fields.CharField(null=True, max_length=255)),
            ],
            options={'table': 'review_item', 'app': 'models', 'constraints': [CheckConstraint(check="kind IN ('USER_MATCH', 'REFUND_REVIEW')", name='review_item_kind_known'), CheckConstraint(check="state IN ('OPEN', 'SETTLED', 'DROPPED')", name='review_item_state_known'), CheckConstraint(check="provider IN ('STRIPE', 'GOCARDLESS', 'COURSEPRO', 'NOOKAL', 'XERO')", name='review_item_provider_known'), UniqueConstraint(fields=('kind', 'provider', 'subject'), name='review_item_open_once', condition="state = 'OPEN'")], 'indexes': [Index(fields=['state', 'id'])], 'pk_attr': 'id', 'table_description': 'A question a person has to decide: whose record it is, or what to do with money that came too late.'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='UserSync',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('user', fields.OneToOneField('models.User', source_field='user_id', db_constraint=True, to_field='id', related_name='sync', on_delete=OnDelete.RESTRICT)),
                ('told', fields.JSONField(default=dict, encoder=JSON_DUMPS, decoder=loads)),
                ('told_version', fields.IntField(default=0)),
                ('told_at', fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'user_sync', 'app': 'models', 'pk_attr': 'id', 'table_description': 'What the course system was last told of a linked user; what differs from the record now is still to be told.'},
            bases=['Row'],
        ),
        AddFilled(
            model_name='Centre',
            name='minutes_after',
            field=fields.IntField(default=30),
        ),
        AddFilled(
            model_name='Centre',
            name='minutes_before',
            field=fields.IntField(default=30),
        ),
        ops.AddConstraint(
            model_name='Centre',
            constraint=CheckConstraint(check='minutes_before >= 0 AND minutes_after >= 0', name='centre_minutes_not_negative'),
        ),
        ops.AddField(
            model_name='Membership',
            name='cart_ref',
            field=fields.CharField(null=True, max_length=64),
        ),
        ops.AddField(
            model_name='Membership',
            name='fees_from',
            field=fields.DateField(null=True),
        ),
        ops.AddField(
            model_name='Membership',
            name='moved_from',
            field=fields.OneToOneField('models.Membership', source_field='moved_from_id', null=True, db_constraint=True, to_field='id', related_name='moved_to', on_delete=OnDelete.RESTRICT),
        ),
        ops.RunSQL(CONSTRAINTS),
    ])]
