from tortoise import migrations
from tortoise.migrations import operations as ops
from models.tables.migrating import AddFilled, AtOnce
from models.rules.booking import SettledBy
from models.rules.returns import CancellationPolicy, DeletionPolicy
from models.rules.states import PaymentPurpose, Provider, RefundStatus, WaitingState
from models.rules.timetable import ClassState
from models.tables.row import new_id
from tortoise.fields.base import OnDelete
from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint

# Tortoise keeps these in a model's state, but does not write them when it creates one.
CONSTRAINTS = [
    "ALTER TABLE booking_line ADD CONSTRAINT booking_line_state_known CHECK (state IN ('DELETED', 'ELAPSED', 'FUTURE'))",
    "ALTER TABLE booking_line ADD CONSTRAINT booking_line_settled_by_known CHECK (settled_by IN ('CREDIT', 'CHARGE', 'FREE', 'DELETED'))",
    'ALTER TABLE booking_line ADD CONSTRAINT booking_line_share_not_negative CHECK (share >= 0)',
    'ALTER TABLE booking_line ADD CONSTRAINT booking_line_once UNIQUE (booking_id, class_session_id)',
    'ALTER TABLE package_offer ADD CONSTRAINT package_offer_has_credits CHECK (credits >= 1)',
    'ALTER TABLE package_offer ADD CONSTRAINT package_offer_valid_for_a_day CHECK (valid_days >= 1)',
    'ALTER TABLE package_offer ADD CONSTRAINT package_offer_one_binding CHECK (class_type_id IS NULL OR course_id IS NULL)',
    "ALTER TABLE refund ADD CONSTRAINT refund_provider_known CHECK (provider IN ('STRIPE', 'GOCARDLESS', 'COURSEPRO', 'NOOKAL', 'XERO'))",
    "ALTER TABLE refund ADD CONSTRAINT refund_status_known CHECK (status IN ('DUE', 'SUBMITTED', 'UNKNOWN', 'SUCCEEDED', 'FAILED'))",
    'ALTER TABLE refund ADD CONSTRAINT refund_amount_positive CHECK (amount > 0)',
    'ALTER TABLE refund ADD CONSTRAINT refund_reference_once UNIQUE (provider, reference)',
    "ALTER TABLE waiting_place ADD CONSTRAINT waiting_place_state_known CHECK (state IN ('WAITING', 'OFFERED', 'TAKEN', 'LAPSED', 'LEFT'))",
    "ALTER TABLE waiting_place ADD CONSTRAINT waiting_place_offer_ends CHECK (state <> 'OFFERED' OR offered_until IS NOT NULL)",
    "CREATE UNIQUE INDEX waiting_place_once ON waiting_place (course_id, user_id) WHERE state IN ('WAITING', 'OFFERED')",
]


class Migration(migrations.Migration):
    dependencies = [('models', '0002_constraints')]

    initial = False

    operations = [AtOnce([
        ops.CreateModel(
            name='BookingLine',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('booking', fields.ForeignKeyField('models.Booking', source_field='booking_id', db_constraint=True, to_field='id', related_name='lines', on_delete=OnDelete.RESTRICT)),
                ('class_session', fields.ForeignKeyField('models.ClassSession', source_field='class_session_id', db_constraint=True, to_field='id', related_name='booking_lines', on_delete=OnDelete.RESTRICT)),
                ('state', fields.CharEnumField(description='DELETED: DELETED\nELAPSED: ELAPSED\nFUTURE: FUTURE', enum_type=ClassState, max_length=24)),
                ('share', fields.BigIntField()),
                ('settled_by', fields.CharEnumField(description='CREDIT: CREDIT\nCHARGE: CHARGE\nFREE: FREE\nDELETED: DELETED', enum_type=SettledBy, max_length=24)),
                ('because', fields.CharField(max_length=200)),
                ('given_back_at', fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'booking_line', 'app': 'models', 'constraints': [CheckConstraint(check="state IN ('DELETED', 'ELAPSED', 'FUTURE')", name='booking_line_state_known'), CheckConstraint(check="settled_by IN ('CREDIT', 'CHARGE', 'FREE', 'DELETED')", name='booking_line_settled_by_known'), CheckConstraint(check='share >= 0', name='booking_line_share_not_negative'), UniqueConstraint(fields=('booking_id', 'class_session_id'), name='booking_line_once')], 'indexes': [Index(fields=['class_session_id', 'id'])], 'pk_attr': 'id', 'table_description': 'What was decided for one class of a booking: its share, what settles it, and when that was given back.'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='PackageOffer',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('name', fields.CharField(max_length=120)),
                ('pricing_option', fields.ForeignKeyField('models.PricingOption', source_field='pricing_option_id', db_constraint=True, to_field='id', related_name='package_offers', on_delete=OnDelete.RESTRICT)),
                ('credits', fields.IntField()),
                ('valid_days', fields.IntField(null=True)),
                ('class_type', fields.ForeignKeyField('models.ClassType', source_field='class_type_id', null=True, db_constraint=True, to_field='id', related_name='package_offers', on_delete=OnDelete.RESTRICT)),
                ('course', fields.ForeignKeyField('models.Course', source_field='course_id', null=True, db_constraint=True, to_field='id', related_name='package_offers', on_delete=OnDelete.RESTRICT)),
            ],
            options={'table': 'package_offer', 'app': 'models', 'constraints': [CheckConstraint(check='credits >= 1', name='package_offer_has_credits'), CheckConstraint(check='valid_days >= 1', name='package_offer_valid_for_a_day'), CheckConstraint(check='class_type_id IS NULL OR course_id IS NULL', name='package_offer_one_binding')], 'pk_attr': 'id', 'table_description': 'A pack of credits on sale, for one course or one kind of class or any; valid so many days once paid.'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='Refund',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('payment', fields.ForeignKeyField('models.Payment', source_field='payment_id', db_constraint=True, to_field='id', related_name='refunds', on_delete=OnDelete.RESTRICT)),
                ('user', fields.ForeignKeyField('models.User', source_field='user_id', db_constraint=True, to_field='id', related_name='refunds', on_delete=OnDelete.RESTRICT)),
                ('provider', fields.CharEnumField(description='STRIPE: STRIPE\nGOCARDLESS: GOCARDLESS\nCOURSEPRO: COURSEPRO\nNOOKAL: NOOKAL\nXERO: XERO', enum_type=Provider, max_length=24)),
                ('amount', fields.BigIntField()),
                ('currency', fields.CharField(max_length=3)),
                ('status', fields.CharEnumField(default=RefundStatus.DUE, description='DUE: DUE\nSUBMITTED: SUBMITTED\nUNKNOWN: UNKNOWN\nSUCCEEDED: SUCCEEDED\nFAILED: FAILED', enum_type=RefundStatus, max_length=24)),
                ('reason', fields.CharField(max_length=200)),
                ('key', fields.CharField(unique=True, max_length=120)),
                ('generation', fields.IntField(default=1)),
                ('reference', fields.CharField(null=True, max_length=255)),
                ('attempts', fields.IntField(default=0)),
                ('failure', fields.CharField(null=True, max_length=60)),
            ],
            options={'table': 'refund', 'app': 'models', 'constraints': [CheckConstraint(check="provider IN ('STRIPE', 'GOCARDLESS', 'COURSEPRO', 'NOOKAL', 'XERO')", name='refund_provider_known'), CheckConstraint(check="status IN ('DUE', 'SUBMITTED', 'UNKNOWN', 'SUCCEEDED', 'FAILED')", name='refund_status_known'), CheckConstraint(check='amount > 0', name='refund_amount_positive'), UniqueConstraint(fields=('provider', 'reference'), name='refund_reference_once')], 'indexes': [Index(fields=['payment_id', 'id']), Index(fields=['user_id', 'id'])], 'pk_attr': 'id', 'table_description': 'Money to give back of one payment, at most once; all refunds of a payment never exceed what was received.'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='WaitingPlace',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('course', fields.ForeignKeyField('models.Course', source_field='course_id', db_constraint=True, to_field='id', related_name='waiting_places', on_delete=OnDelete.RESTRICT)),
                ('user', fields.ForeignKeyField('models.User', source_field='user_id', db_constraint=True, to_field='id', related_name='waiting_places', on_delete=OnDelete.RESTRICT)),
                ('state', fields.CharEnumField(default=WaitingState.WAITING, description='WAITING: WAITING\nOFFERED: OFFERED\nTAKEN: TAKEN\nLAPSED: LAPSED\nLEFT: LEFT', enum_type=WaitingState, max_length=24)),
                ('offered_until', fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'waiting_place', 'app': 'models', 'constraints': [CheckConstraint(check="state IN ('WAITING', 'OFFERED', 'TAKEN', 'LAPSED', 'LEFT')", name='waiting_place_state_known'), CheckConstraint(check="state <> 'OFFERED' OR offered_until IS NOT NULL", name='waiting_place_offer_ends'), UniqueConstraint(fields=('course_id', 'user_id'), name='waiting_place_once', condition="state IN ('WAITING', 'OFFERED')")], 'indexes': [Index(fields=['course_id', 'state', 'id']), Index(fields=['user_id', 'id'])], 'pk_attr': 'id', 'table_description': "One person's place on a course's waiting list, first come first served; an offer holds a place until it ends."},
            bases=['Row'],
        ),
        AddFilled(
            model_name='Booking',
            name='carried',
            field=fields.BigIntField(default=0),
        ),
        ops.AddField(
            model_name='Booking',
            name='moved_from',
            field=fields.OneToOneField('models.Booking', source_field='moved_from_id', null=True, db_constraint=True, to_field='id', related_name='moved_to', on_delete=OnDelete.RESTRICT),
        ),
        ops.RemoveField(model_name='Booking', name='package'),
        ops.AddIndex(
            model_name='Booking',
            index=Index(fields=['course_id', 'id']),
        ),
        ops.AddConstraint(
            model_name='Booking',
            constraint=CheckConstraint(check='carried BETWEEN 0 AND greatest(charge, 0)', name='booking_carried_within_charge'),
        ),
        ops.AddConstraint(
            model_name='Booking',
            constraint=CheckConstraint(check='carried = 0 OR moved_from_id IS NOT NULL', name='booking_carries_from_somewhere'),
        ),
        AddFilled(
            model_name='Course',
            name='notice_hours',
            field=fields.IntField(default=0),
        ),
        AddFilled(
            model_name='Course',
            name='offer_hours',
            field=fields.IntField(default=24),
        ),
        AddFilled(
            model_name='Course',
            name='on_cancellation',
            field=fields.CharEnumField(default=CancellationPolicy.FUTURE_CLASSES, description='FUTURE_CLASSES: FUTURE_CLASSES\nEVERYTHING: EVERYTHING\nNOTHING: NOTHING', enum_type=CancellationPolicy, max_length=24),
        ),
        AddFilled(
            model_name='Course',
            name='on_deletion',
            field=fields.CharEnumField(default=DeletionPolicy.AS_PRICED, description='AS_PRICED: AS_PRICED\nITS_SHARE: ITS_SHARE\nNOTHING: NOTHING', enum_type=DeletionPolicy, max_length=24),
        ),
        AddFilled(
            model_name='Course',
            name='package_joins_late',
            field=fields.BooleanField(default=False),
        ),
        ops.AddConstraint(
            model_name='Course',
            constraint=CheckConstraint(check="on_cancellation IN ('FUTURE_CLASSES', 'EVERYTHING', 'NOTHING')", name='course_on_cancellation_known'),
        ),
        ops.AddConstraint(
            model_name='Course',
            constraint=CheckConstraint(check="on_deletion IN ('AS_PRICED', 'ITS_SHARE', 'NOTHING')", name='course_on_deletion_known'),
        ),
        ops.AddConstraint(
            model_name='Course',
            constraint=CheckConstraint(check='notice_hours >= 0', name='course_notice_not_negative'),
        ),
        ops.AddConstraint(
            model_name='Course',
            constraint=CheckConstraint(check='offer_hours >= 1', name='course_offer_lasts'),
        ),
        ops.RemoveConstraint(
            model_name='CreditEntry',
            name='credit_entry_draw_once',
            fields=None,
        ),
        ops.AddField(
            model_name='CreditEntry',
            name='class_session',
            field=fields.ForeignKeyField('models.ClassSession', source_field='class_session_id', null=True, db_constraint=True, to_field='id', related_name='credit_entries', on_delete=OnDelete.RESTRICT),
        ),
        ops.AddIndex(
            model_name='CreditEntry',
            index=Index(fields=['booking_id', 'id']),
        ),
        ops.AddConstraint(
            model_name='CreditEntry',
            constraint=UniqueConstraint(fields=('booking_id', 'class_session_id'), name='credit_entry_draw_once', condition='reverses_id IS NULL'),
        ),
        ops.AddField(
            model_name='MembershipType',
            name='credits_per_period',
            field=fields.IntField(null=True),
        ),
        ops.AddConstraint(
            model_name='MembershipType',
            constraint=CheckConstraint(check='credits_per_period >= 1', name='membership_type_grants_credits'),
        ),
        ops.AddField(
            model_name='Package',
            name='course',
            field=fields.ForeignKeyField('models.Course', source_field='course_id', null=True, db_constraint=True, to_field='id', related_name='packages', on_delete=OnDelete.RESTRICT),
        ),
        ops.AddField(
            model_name='Package',
            name='offer',
            field=fields.ForeignKeyField('models.PackageOffer', source_field='offer_id', null=True, db_constraint=True, to_field='id', related_name='packages', on_delete=OnDelete.RESTRICT),
        ),
        ops.AddField(
            model_name='Package',
            name='period_start',
            field=fields.DateField(null=True),
        ),
        ops.AddIndex(
            model_name='Package',
            index=Index(fields=['valid_until']),
        ),
        ops.AddConstraint(
            model_name='Package',
            constraint=CheckConstraint(check='class_type_id IS NULL OR course_id IS NULL', name='package_one_binding'),
        ),
        ops.AddConstraint(
            model_name='Package',
            constraint=CheckConstraint(check='period_start IS NULL OR membership_id IS NOT NULL', name='package_period_of_membership'),
        ),
        ops.AddConstraint(
            model_name='Package',
            constraint=UniqueConstraint(fields=('membership_id', 'period_start'), name='package_once_per_period'),
        ),
        ops.RemoveConstraint(
            model_name='Payment',
            name='payment_purpose_known',
            fields=None,
        ),
        ops.RemoveConstraint(
            model_name='Payment',
            name='payment_is_for_one_thing',
            fields=None,
        ),
        ops.AlterField(
            model_name='Payment',
            name='purpose',
            field=fields.CharEnumField(description='BOOKING: BOOKING\nMEMBERSHIP_FEE: MEMBERSHIP_FEE\nPACKAGE: PACKAGE', enum_type=PaymentPurpose, max_length=24),
        ),
        ops.AddField(
            model_name='Payment',
            name='package',
            field=fields.OneToOneField('models.Package', source_field='package_id', null=True, db_constraint=True, to_field='id', related_name='payment', on_delete=OnDelete.RESTRICT),
        ),
        ops.AddConstraint(
            model_name='Payment',
            constraint=CheckConstraint(check="purpose IN ('BOOKING', 'MEMBERSHIP_FEE', 'PACKAGE')", name='payment_purpose_known'),
        ),
        ops.AddConstraint(
            model_name='Payment',
            constraint=CheckConstraint(check="(purpose = 'BOOKING') = (booking_id IS NOT NULL) AND (purpose = 'MEMBERSHIP_FEE') = (membership_id IS NOT NULL) AND (purpose = 'PACKAGE') = (package_id IS NOT NULL)", name='payment_is_for_one_thing'),
        ),
        ops.RunSQL(CONSTRAINTS),
    ])]
