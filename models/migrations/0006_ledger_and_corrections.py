from tortoise import migrations
from tortoise.migrations import operations as ops
from models.tables.migrating import AddFilled, AtOnce
from models.rules.dunning import SuspendOn
from models.rules.fees import FirstPeriod
from models.rules.ledger import Account, Movement
from models.rules.lifecycle import WhileSuspended
from models.rules.corrections import CorrectionCause, CorrectionState, Proposal, ShipmentKind
from models.rules.states import PaymentStatus, ReviewKind
from models.tables.row import new_id
from orjson import loads
from tortoise.fields.base import OnDelete
from tortoise.fields.data import JSON_DUMPS
from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint

# Tortoise keeps these in a model's state, but does not write them when it creates one.
CONSTRAINTS = [
    'ALTER TABLE billing_policy ADD CONSTRAINT billing_policy_is_one CHECK (single)',
    "ALTER TABLE billing_policy ADD CONSTRAINT billing_policy_suspend_on_known CHECK (suspend_on IN ('FIRST_FAILURE', 'RETRIES_EXHAUSTED'))",
    "ALTER TABLE billing_policy ADD CONSTRAINT billing_policy_while_suspended_known CHECK (while_suspended IN ('HOLD', 'ACCRUE'))",
    "ALTER TABLE billing_policy ADD CONSTRAINT billing_policy_first_period_known CHECK (first_period IN ('FULL', 'PRO_RATA'))",
    'ALTER TABLE billing_policy ADD CONSTRAINT billing_policy_ahead CHECK (ahead_days BETWEEN 0 AND 60)',
    'ALTER TABLE billing_policy ADD CONSTRAINT billing_policy_day_known CHECK (billing_day BETWEEN 1 AND 31)',
    'ALTER TABLE billing_policy ADD CONSTRAINT billing_policy_grace CHECK (grace_hours BETWEEN 0 AND 720)',
    "ALTER TABLE correction ADD CONSTRAINT correction_cause_known CHECK (cause IN ('ATTENDANCE_CHANGED', 'REFUNDED', 'PAYMENT_LOST', 'INVOICE_CHANGED'))",
    "ALTER TABLE correction ADD CONSTRAINT correction_proposal_known CHECK (proposal IN ('VOID_AND_REISSUE', 'CREDIT_NOTE'))",
    "ALTER TABLE correction ADD CONSTRAINT correction_state_known CHECK (state IN ('OPEN', 'APPLIED', 'DISMISSED', 'DROPPED'))",
    'ALTER TABLE correction ADD CONSTRAINT correction_amount_positive CHECK (amount > 0)',
    "ALTER TABLE correction ADD CONSTRAINT correction_credit_note_has_amount CHECK ((proposal = 'CREDIT_NOTE') = (amount IS NOT NULL))",
    "CREATE UNIQUE INDEX correction_open_once ON correction (invoice_id, cause) WHERE state = 'OPEN'",
    "ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_movement_known CHECK (movement IN ('CHARGED', 'CHARGE_DROPPED', 'CLEARED', 'RECEIVED', 'RETURNED', 'CHARGED_AGAIN', 'ALLOCATED', 'FREED', 'CREDITED', 'CREDIT_USED', 'REFUNDED', 'PAID_BACK', 'REFUND_FAILED', 'PAID_IN_AGAIN', 'FEE_TAKEN', 'FEE_GIVEN_BACK'))",
    "ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_debit_known CHECK (debit IN ('RECEIVABLE', 'CASH', 'FEES', 'PAID_BACK', 'CHARGED', 'HELD', 'ALLOCATED', 'CREDIT', 'REFUNDED'))",
    "ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_credit_known CHECK (credit IN ('RECEIVABLE', 'CASH', 'FEES', 'PAID_BACK', 'CHARGED', 'HELD', 'ALLOCATED', 'CREDIT', 'REFUNDED'))",
    'ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_amount_positive CHECK (amount > 0)',
    'ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_between_two CHECK (debit <> credit)',
    'ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_about_one CHECK ((payment_id IS NULL) <> (invoice_id IS NULL))',
    'ALTER TABLE ledger_entry ADD CONSTRAINT ledger_entry_refund_of_payment CHECK (refund_id IS NULL OR payment_id IS NOT NULL)',
]


# What was written to the books stays there: a mistake is put right by another entry.
KEPT = """
CREATE FUNCTION ledger_entry_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a ledger entry is never changed' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_entry_kept BEFORE UPDATE OR DELETE ON ledger_entry
    FOR EACH ROW EXECUTE FUNCTION ledger_entry_kept();
"""


class Migration(migrations.Migration):
    dependencies = [('models', '0005_gate_keys')]

    initial = False

    operations = [AtOnce([
        ops.CreateModel(
            name='BillingPolicy',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('single', fields.BooleanField(default=True, unique=True)),
                ('suspend_on', fields.CharEnumField(default=SuspendOn.FIRST_FAILURE, description='FIRST_FAILURE: FIRST_FAILURE\nRETRIES_EXHAUSTED: RETRIES_EXHAUSTED', enum_type=SuspendOn, max_length=24)),
                ('while_suspended', fields.CharEnumField(default=WhileSuspended.HOLD, description='HOLD: HOLD\nACCRUE: ACCRUE', enum_type=WhileSuspended, max_length=24)),
                ('retry_after_days', fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ('ahead_days', fields.IntField(default=10)),
                ('billing_day', fields.IntField(null=True)),
                ('first_period', fields.CharEnumField(default=FirstPeriod.FULL, description='FULL: FULL\nPRO_RATA: PRO_RATA', enum_type=FirstPeriod, max_length=24)),
                ('grace_hours', fields.IntField(default=0)),
            ],
            options={'table': 'billing_policy', 'app': 'models', 'constraints': [CheckConstraint(check='single', name='billing_policy_is_one'), CheckConstraint(check="suspend_on IN ('FIRST_FAILURE', 'RETRIES_EXHAUSTED')", name='billing_policy_suspend_on_known'), CheckConstraint(check="while_suspended IN ('HOLD', 'ACCRUE')", name='billing_policy_while_suspended_known'), CheckConstraint(check="first_period IN ('FULL', 'PRO_RATA')", name='billing_policy_first_period_known'), CheckConstraint(check='ahead_days BETWEEN 0 AND 60', name='billing_policy_ahead'), CheckConstraint(check='billing_day BETWEEN 1 AND 31', name='billing_policy_day_known'), CheckConstraint(check='grace_hours BETWEEN 0 AND 720', name='billing_policy_grace')], 'pk_attr': 'id', 'table_description': 'How fees are asked for and what follows a failure; one row at most, the defaults where there is none.'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='Correction',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('invoice', fields.ForeignKeyField('models.Invoice', source_field='invoice_id', db_constraint=True, to_field='id', related_name='corrections', on_delete=OnDelete.RESTRICT)),
                ('cause', fields.CharEnumField(description='ATTENDANCE_CHANGED: ATTENDANCE_CHANGED\nREFUNDED: REFUNDED\nPAYMENT_LOST: PAYMENT_LOST\nINVOICE_CHANGED: INVOICE_CHANGED', enum_type=CorrectionCause, max_length=24)),
                ('proposal', fields.CharEnumField(description='VOID_AND_REISSUE: VOID_AND_REISSUE\nCREDIT_NOTE: CREDIT_NOTE', enum_type=Proposal, max_length=24)),
                ('state', fields.CharEnumField(default=CorrectionState.OPEN, description='OPEN: OPEN\nAPPLIED: APPLIED\nDISMISSED: DISMISSED\nDROPPED: DROPPED', enum_type=CorrectionState, max_length=24)),
                ('amount', fields.BigIntField(null=True)),
                ('change', fields.JSONField(default=dict, encoder=JSON_DUMPS, decoder=loads)),
                ('answer', fields.CharField(null=True, max_length=255)),
            ],
            options={'table': 'correction', 'app': 'models', 'constraints': [CheckConstraint(check="cause IN ('ATTENDANCE_CHANGED', 'REFUNDED', 'PAYMENT_LOST', 'INVOICE_CHANGED')", name='correction_cause_known'), CheckConstraint(check="proposal IN ('VOID_AND_REISSUE', 'CREDIT_NOTE')", name='correction_proposal_known'), CheckConstraint(check="state IN ('OPEN', 'APPLIED', 'DISMISSED', 'DROPPED')", name='correction_state_known'), CheckConstraint(check='amount > 0', name='correction_amount_positive'), CheckConstraint(check="(proposal = 'CREDIT_NOTE') = (amount IS NOT NULL)", name='correction_credit_note_has_amount'), UniqueConstraint(fields=('invoice_id', 'cause'), name='correction_open_once', condition="state = 'OPEN'")], 'indexes': [Index(fields=['state', 'id']), Index(fields=['invoice_id', 'id'])], 'pk_attr': 'id', 'table_description': 'What changed at an invoice after it was billed off, and the change proposed for it; a person applies it.'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='LedgerEntry',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('key', fields.CharField(unique=True, max_length=160)),
                ('movement', fields.CharEnumField(description='CHARGED: CHARGED\nCHARGE_DROPPED: CHARGE_DROPPED\nCLEARED: CLEARED\nRECEIVED: RECEIVED\nRETURNED: RETURNED\nCHARGED_AGAIN: CHARGED_AGAIN\nALLOCATED: ALLOCATED\nFREED: FREED\nCREDITED: CREDITED\nCREDIT_USED: CREDIT_USED\nREFUNDED: REFUNDED\nPAID_BACK: PAID_BACK\nREFUND_FAILED: REFUND_FAILED\nPAID_IN_AGAIN: PAID_IN_AGAIN\nFEE_TAKEN: FEE_TAKEN\nFEE_GIVEN_BACK: FEE_GIVEN_BACK', enum_type=Movement, max_length=24)),
                ('debit', fields.CharEnumField(description='RECEIVABLE: RECEIVABLE\nCASH: CASH\nFEES: FEES\nPAID_BACK: PAID_BACK\nCHARGED: CHARGED\nHELD: HELD\nALLOCATED: ALLOCATED\nCREDIT: CREDIT\nREFUNDED: REFUNDED', enum_type=Account, max_length=24)),
                ('credit', fields.CharEnumField(description='RECEIVABLE: RECEIVABLE\nCASH: CASH\nFEES: FEES\nPAID_BACK: PAID_BACK\nCHARGED: CHARGED\nHELD: HELD\nALLOCATED: ALLOCATED\nCREDIT: CREDIT\nREFUNDED: REFUNDED', enum_type=Account, max_length=24)),
                ('amount', fields.BigIntField()),
                ('currency', fields.CharField(max_length=3)),
                ('at', fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ('user', fields.ForeignKeyField('models.User', source_field='user_id', null=True, db_constraint=True, to_field='id', related_name='ledger_entries', on_delete=OnDelete.RESTRICT)),
                ('payment', fields.ForeignKeyField('models.Payment', source_field='payment_id', null=True, db_constraint=True, to_field='id', related_name='ledger_entries', on_delete=OnDelete.RESTRICT)),
                ('refund', fields.ForeignKeyField('models.Refund', source_field='refund_id', null=True, db_constraint=True, to_field='id', related_name='ledger_entries', on_delete=OnDelete.RESTRICT)),
                ('invoice', fields.ForeignKeyField('models.Invoice', source_field='invoice_id', null=True, db_constraint=True, to_field='id', related_name='ledger_entries', on_delete=OnDelete.RESTRICT)),
            ],
            options={'table': 'ledger_entry', 'app': 'models', 'constraints': [CheckConstraint(check="movement IN ('CHARGED', 'CHARGE_DROPPED', 'CLEARED', 'RECEIVED', 'RETURNED', 'CHARGED_AGAIN', 'ALLOCATED', 'FREED', 'CREDITED', 'CREDIT_USED', 'REFUNDED', 'PAID_BACK', 'REFUND_FAILED', 'PAID_IN_AGAIN', 'FEE_TAKEN', 'FEE_GIVEN_BACK')", name='ledger_entry_movement_known'), CheckConstraint(check="debit IN ('RECEIVABLE', 'CASH', 'FEES', 'PAID_BACK', 'CHARGED', 'HELD', 'ALLOCATED', 'CREDIT', 'REFUNDED')", name='ledger_entry_debit_known'), CheckConstraint(check="credit IN ('RECEIVABLE', 'CASH', 'FEES', 'PAID_BACK', 'CHARGED', 'HELD', 'ALLOCATED', 'CREDIT', 'REFUNDED')", name='ledger_entry_credit_known'), CheckConstraint(check='amount > 0', name='ledger_entry_amount_positive'), CheckConstraint(check='debit <> credit', name='ledger_entry_between_two'), CheckConstraint(check='(payment_id IS NULL) <> (invoice_id IS NULL)', name='ledger_entry_about_one'), CheckConstraint(check='refund_id IS NULL OR payment_id IS NOT NULL', name='ledger_entry_refund_of_payment')], 'indexes': [Index(fields=['payment_id', 'id']), Index(fields=['invoice_id', 'id']), Index(fields=['user_id', 'id'])], 'pk_attr': 'id', 'table_description': 'Money taken from one account to another: a debit of `debit`, a credit of `credit`; kept as it is.'},
            bases=['Row'],
        ),
        ops.AddField(
            model_name='Attendance',
            name='paid_by',
            field=fields.ForeignKeyField('models.Invoice', source_field='paid_by_id', null=True, db_constraint=True, to_field='id', related_name='chosen_for', on_delete=OnDelete.RESTRICT),
        ),
        AddFilled(
            model_name='Invoice',
            name='credit_used',
            field=fields.BigIntField(default=0),
        ),
        AddFilled(
            model_name='Invoice',
            name='credited',
            field=fields.BigIntField(default=0),
        ),
        AddFilled(
            model_name='Invoice',
            name='discount',
            field=fields.BigIntField(default=0),
        ),
        AddFilled(
            model_name='Invoice',
            name='tax',
            field=fields.BigIntField(default=0),
        ),
        AddFilled(
            model_name='Invoice',
            name='total',
            field=fields.BigIntField(default=0),
        ),
        ops.AddField(
            model_name='Membership',
            name='billing_day',
            field=fields.IntField(null=True),
        ),
        ops.AddField(
            model_name='Membership',
            name='next_fee_on',
            field=fields.DateField(null=True),
        ),
        ops.AddIndex(
            model_name='Membership',
            index=Index(fields=['next_fee_on', 'id']),
        ),
        ops.AddIndex(
            model_name='Membership',
            index=Index(fields=['updated_at', 'id']),
        ),
        ops.AddConstraint(
            model_name='Membership',
            constraint=CheckConstraint(check='billing_day BETWEEN 1 AND 31', name='membership_billing_day_known'),
        ),
        ops.RemoveConstraint(
            model_name='Payment',
            name='payment_status_known',
            fields=None,
        ),
        ops.AlterField(
            model_name='Payment',
            name='status',
            field=fields.CharEnumField(default=PaymentStatus.DUE, description='DUE: DUE\nSUBMITTED: SUBMITTED\nUNKNOWN: UNKNOWN\nCONFIRMED: CONFIRMED\nPAID_OUT: PAID_OUT\nFAILED: FAILED\nCANCELLED: CANCELLED\nCHARGED_BACK: CHARGED_BACK\nCARRIED: CARRIED\nWRITTEN_OFF: WRITTEN_OFF', enum_type=PaymentStatus, max_length=24),
        ),
        AddFilled(
            model_name='Payment',
            name='asks',
            field=fields.IntField(default=0),
        ),
        ops.AddField(
            model_name='Payment',
            name='carried_by',
            field=fields.ForeignKeyField('models.Payment', source_field='carried_by_id', null=True, db_constraint=True, to_field='id', related_name='carries', on_delete=OnDelete.RESTRICT),
        ),
        ops.AddField(
            model_name='Payment',
            name='retry_on',
            field=fields.DateField(null=True),
        ),
        ops.AddIndex(
            model_name='Payment',
            index=Index(fields=['membership_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Payment',
            index=Index(fields=['retry_on']),
        ),
        ops.AddConstraint(
            model_name='Payment',
            constraint=CheckConstraint(check="status IN ('DUE', 'SUBMITTED', 'UNKNOWN', 'CONFIRMED', 'PAID_OUT', 'FAILED', 'CANCELLED', 'CHARGED_BACK', 'CARRIED', 'WRITTEN_OFF')", name='payment_status_known'),
        ),
        ops.AddConstraint(
            model_name='Payment',
            constraint=CheckConstraint(check="carried_by_id IS NULL OR status = 'CARRIED'", name='payment_carried_is_carried'),
        ),
        AddFilled(
            model_name='Refund',
            name='asks',
            field=fields.IntField(default=0),
        ),
        ops.RemoveConstraint(
            model_name='ReviewItem',
            name='review_item_kind_known',
            fields=None,
        ),
        ops.AlterField(
            model_name='ReviewItem',
            name='kind',
            field=fields.CharEnumField(description='USER_MATCH: USER_MATCH\nREFUND_REVIEW: REFUND_REVIEW\nSUBSCRIPTION_MATCH: SUBSCRIPTION_MATCH\nPATIENT_MATCH: PATIENT_MATCH\nOUTCOME_UNKNOWN: OUTCOME_UNKNOWN\nMONEY_BREAK: MONEY_BREAK', enum_type=ReviewKind, max_length=24),
        ),
        ops.AddConstraint(
            model_name='ReviewItem',
            constraint=CheckConstraint(check="kind IN ('USER_MATCH', 'REFUND_REVIEW', 'SUBSCRIPTION_MATCH', 'PATIENT_MATCH', 'OUTCOME_UNKNOWN', 'MONEY_BREAK')", name='review_item_kind_known'),
        ),
        ops.RemoveConstraint(
            model_name='Shipment',
            name='shipment_once',
            fields=None,
        ),
        ops.AlterModelOptions(
            name='Shipment',
            options={'table': 'shipment', 'app': 'models', 'constraints': [CheckConstraint(check="system IN ('STRIPE', 'GOCARDLESS', 'COURSEPRO', 'NOOKAL', 'XERO')", name='shipment_system_known'), CheckConstraint(check="state IN ('PENDING', 'SENDING', 'SHIPPED')", name='shipment_state_known'), CheckConstraint(check="(state = 'SHIPPED') = (external_id IS NOT NULL AND shipped_at IS NOT NULL)", name='shipment_shipped_has_id'), CheckConstraint(check="kind IN ('INVOICE', 'VOID', 'CREDIT_NOTE')", name='shipment_kind_known'), CheckConstraint(check="kind = 'INVOICE' OR correction_id IS NOT NULL", name='shipment_corrects_or_bills'), UniqueConstraint(fields=('invoice_id', 'system'), name='shipment_once', condition='correction_id IS NULL'), UniqueConstraint(fields=('correction_id', 'system', 'kind'), name='shipment_of_correction_once'), UniqueConstraint(fields=('system', 'reference'), name='shipment_reference_once')], 'pk_attr': 'id', 'table_description': "A document's journey to one system; `reference` is ours, stands in what is sent and finds it again."},
        ),
        ops.AddField(
            model_name='Shipment',
            name='correction',
            field=fields.ForeignKeyField('models.Correction', source_field='correction_id', null=True, db_constraint=True, to_field='id', related_name='shipments', on_delete=OnDelete.RESTRICT),
        ),
        AddFilled(
            model_name='Shipment',
            name='kind',
            field=fields.CharEnumField(default=ShipmentKind.INVOICE, description='INVOICE: INVOICE\nVOID: VOID\nCREDIT_NOTE: CREDIT_NOTE', enum_type=ShipmentKind, max_length=24),
        ),
        ops.AddConstraint(
            model_name='Shipment',
            constraint=CheckConstraint(check="kind IN ('INVOICE', 'VOID', 'CREDIT_NOTE')", name='shipment_kind_known'),
        ),
        ops.AddConstraint(
            model_name='Shipment',
            constraint=CheckConstraint(check="kind = 'INVOICE' OR correction_id IS NOT NULL", name='shipment_corrects_or_bills'),
        ),
        ops.AddConstraint(
            model_name='Shipment',
            constraint=UniqueConstraint(fields=('invoice_id', 'system'), name='shipment_once', condition='correction_id IS NULL'),
        ),
        ops.AddConstraint(
            model_name='Shipment',
            constraint=UniqueConstraint(fields=('correction_id', 'system', 'kind'), name='shipment_of_correction_once'),
        ),
        ops.AddField(
            model_name='Subscription',
            name='beneficiary',
            field=fields.ForeignKeyField('models.User', source_field='beneficiary_id', null=True, db_constraint=True, to_field='id', related_name='subscriptions_for', on_delete=OnDelete.RESTRICT),
        ),
        ops.RunSQL(CONSTRAINTS),
        ops.RunSQL(KEPT),
    ])]
