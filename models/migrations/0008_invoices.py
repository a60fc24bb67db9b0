from tortoise import migrations
from tortoise.migrations import operations as ops
from models.tables.migrating import AddFilled, AtOnce
from tortoise.fields.base import OnDelete
from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint

# Whose classes an invoice pays for was its subscription's to say, also after it was billed off.
ATTENDEES = [
    "UPDATE invoice SET attendee_id = coalesce("
    "(SELECT s.beneficiary_id FROM subscription s WHERE s.id = invoice.subscription_id), user_id)",
]


class Migration(migrations.Migration):
    dependencies = [('models', '0007_partners')]

    initial = False

    operations = [AtOnce([
        ops.AddField(
            model_name='Invoice',
            name='attendee',
            field=fields.ForeignKeyField('models.User', source_field='attendee_id', null=True, db_constraint=True, to_field='id', related_name='attended_invoices', on_delete=OnDelete.RESTRICT),
        ),
        ops.RunSQL(ATTENDEES),
        ops.AddConstraint(
            model_name='Invoice',
            constraint=CheckConstraint(check='(user_id IS NULL) = (attendee_id IS NULL)', name='invoice_attended_where_paid'),
        ),
        AddFilled(
            model_name='Invoice',
            name='drawn',
            field=fields.BigIntField(default=0),
        ),
        ops.AddField(
            model_name='Invoice',
            name='drawn_from',
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.AddIndex(
            model_name='Invoice',
            index=Index(fields=['attendee_id', 'period_end']),
        ),
        ops.AddIndex(
            model_name='Invoice',
            index=Index(fields=['drawn_from']),
        ),
        ops.RemoveConstraint(
            model_name='Shipment',
            name='shipment_corrects_or_bills',
            fields=None,
        ),
        ops.RemoveConstraint(
            model_name='Shipment',
            name='shipment_once',
            fields=None,
        ),
        ops.AddConstraint(
            model_name='Shipment',
            constraint=CheckConstraint(check="kind <> 'VOID' OR correction_id IS NOT NULL", name='shipment_corrects_or_bills'),
        ),
        ops.AddConstraint(
            model_name='Shipment',
            constraint=UniqueConstraint(fields=('invoice_id', 'system', 'kind'), name='shipment_once', condition='correction_id IS NULL'),
        ),
    ])]
