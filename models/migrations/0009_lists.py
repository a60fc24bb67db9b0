from tortoise import migrations
from tortoise.migrations import operations as ops
from models.tables.migrating import AtOnce
from tortoise.indexes import Index

# What filters ask with yes or no: Tortoise declares no index of a condition.
YES_OR_NO = [
    'CREATE INDEX access_token_revoked ON access_token ((revoked_at IS NOT NULL), id)',
    'CREATE INDEX class_session_deleted ON class_session ((deleted_at IS NOT NULL), id)',
    'CREATE INDEX invoice_billed_off ON invoice ((billed_off_at IS NOT NULL), id)',
    'CREATE INDEX invoice_held ON invoice ((hold IS NOT NULL), id)',
    'CREATE INDEX invoice_credit_used ON invoice ((credit_used > 0), id)',
    'CREATE INDEX notification_sent ON notification ((sent_at IS NOT NULL), id)',
    'CREATE INDEX subscription_linked ON subscription ((user_id IS NOT NULL), id)',
]
# Memberships whose fees may have to be taken into the calendar: what ended is none of them.
UNASKED = "CREATE INDEX membership_unasked ON membership (id) WHERE next_fee_on IS NULL AND amount > 0 AND status NOT IN ('CANCELLED', 'COMPLETED', 'EXPIRED')"


class Migration(migrations.Migration):
    dependencies = [('models', '0008_invoices')]

    initial = False

    operations = [AtOnce([
        ops.AddIndex(
            model_name='AccessToken',
            index=Index(fields=['membership_id', 'id']),
        ),
        ops.AddIndex(
            model_name='AccessToken',
            index=Index(fields=['centre_id', 'id']),
        ),
        ops.AddIndex(
            model_name='AccessToken',
            index=Index(fields=['valid_until', 'id']),
        ),
        ops.AddIndex(
            model_name='Attendance',
            index=Index(fields=['mark', 'id']),
        ),
        ops.AddIndex(
            model_name='Booking',
            index=Index(fields=['status', 'id']),
        ),
        ops.AddIndex(
            model_name='Booking',
            index=Index(fields=['created_at', 'id']),
        ),
        ops.AddIndex(
            model_name='ClassSession',
            index=Index(fields=['centre_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Correction',
            index=Index(fields=['cause', 'id']),
        ),
        ops.AddIndex(
            model_name='Course',
            index=Index(fields=['centre_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Course',
            index=Index(fields=['owner', 'id']),
        ),
        ops.AddIndex(
            model_name='Course',
            index=Index(fields=['name', 'id']),
        ),
        ops.AddIndex(
            model_name='Drift',
            index=Index(fields=['provider', 'id']),
        ),
        ops.AddIndex(
            model_name='Drift',
            index=Index(fields=['field', 'id']),
        ),
        ops.AddIndex(
            model_name='Drift',
            index=Index(fields=['cause', 'id']),
        ),
        ops.AddIndex(
            model_name='Drift',
            index=Index(fields=['at', 'id']),
        ),
        ops.AddIndex(
            model_name='InboxEvent',
            index=Index(fields=['provider', 'id']),
        ),
        ops.AddIndex(
            model_name='InboxEvent',
            index=Index(fields=['state', 'id']),
        ),
        ops.AddIndex(
            model_name='InboxEvent',
            index=Index(fields=['created_at', 'id']),
        ),
        ops.AddIndex(
            model_name='Invoice',
            index=Index(fields=['subscription_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Invoice',
            index=Index(fields=['membership_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Invoice',
            index=Index(fields=['status', 'id']),
        ),
        ops.AddIndex(
            model_name='Invoice',
            index=Index(fields=['hold', 'id']),
        ),
        ops.AddIndex(
            model_name='Invoice',
            index=Index(fields=['period_end', 'id']),
        ),
        ops.AddIndex(
            model_name='Job',
            index=Index(fields=['state', 'id']),
        ),
        ops.AddIndex(
            model_name='Job',
            index=Index(fields=['kind', 'id']),
        ),
        ops.AddIndex(
            model_name='Job',
            index=Index(fields=['user_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Job',
            index=Index(fields=['created_at', 'id']),
        ),
        ops.AddIndex(
            model_name='LedgerEntry',
            index=Index(fields=['movement', 'id']),
        ),
        ops.AddIndex(
            model_name='LedgerEntry',
            index=Index(fields=['at', 'id']),
        ),
        ops.AddIndex(
            model_name='Mandate',
            index=Index(fields=['user_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Mandate',
            index=Index(fields=['status', 'id']),
        ),
        ops.AddIndex(
            model_name='Membership',
            index=Index(fields=['membership_type_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Membership',
            index=Index(fields=['centre_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Membership',
            index=Index(fields=['mandate_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Membership',
            index=Index(fields=['starts_on', 'id']),
        ),
        ops.AddIndex(
            model_name='Membership',
            index=Index(fields=['created_at', 'id']),
        ),
        ops.AddIndex(
            model_name='Notification',
            index=Index(fields=['user_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Package',
            index=Index(fields=['membership_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Package',
            index=Index(fields=['valid_from', 'id']),
        ),
        ops.AddIndex(
            model_name='Payment',
            index=Index(fields=['status', 'id']),
        ),
        ops.AddIndex(
            model_name='Payment',
            index=Index(fields=['provider', 'id']),
        ),
        ops.AddIndex(
            model_name='Payment',
            index=Index(fields=['due_on', 'id']),
        ),
        ops.AddIndex(
            model_name='Payment',
            index=Index(fields=['amount', 'id']),
        ),
        ops.AddIndex(
            model_name='Payment',
            index=Index(fields=['created_at', 'id']),
        ),
        ops.AddIndex(
            model_name='ReviewItem',
            index=Index(fields=['kind', 'id']),
        ),
        ops.AddIndex(
            model_name='ReviewItem',
            index=Index(fields=['user_id', 'id']),
        ),
        ops.AddIndex(
            model_name='ReviewItem',
            index=Index(fields=['created_at', 'id']),
        ),
        ops.AddIndex(
            model_name='Subscription',
            index=Index(fields=['user_id', 'id']),
        ),
        ops.AddIndex(
            model_name='Subscription',
            index=Index(fields=['status', 'id']),
        ),
        ops.AddIndex(
            model_name='User',
            index=Index(fields=['state', 'id']),
        ),
        ops.AddIndex(
            model_name='User',
            index=Index(fields=['last_name', 'id']),
        ),
        ops.AddIndex(
            model_name='User',
            index=Index(fields=['first_name', 'id']),
        ),
        ops.AddIndex(
            model_name='User',
            index=Index(fields=['created_at', 'id']),
        ),
        ops.AddIndex(
            model_name='WaitingPlace',
            index=Index(fields=['state', 'id']),
        ),
        ops.AddIndex(
            model_name='WebhookMessage',
            index=Index(fields=['state', 'id']),
        ),
        ops.AddIndex(
            model_name='WebhookMessage',
            index=Index(fields=['topic', 'id']),
        ),
        ops.RunSQL(YES_OR_NO),
        ops.RunSQL(UNASKED),
    ])]
