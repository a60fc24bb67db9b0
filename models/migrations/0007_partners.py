from tortoise import migrations
from tortoise.migrations import operations as ops
from models.tables.migrating import AtOnce
from models.rules.partners import DeliveryState, ExportFormat, ExportKind
from models.tables.row import new_id
from orjson import loads
from tortoise.fields.base import OnDelete
from tortoise.fields.data import JSON_DUMPS
from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint

# Tortoise keeps these in a model's state, but does not write them when it creates one.
CONSTRAINTS = [
    "ALTER TABLE export_file ADD CONSTRAINT export_file_kind_known CHECK (kind IN ('USERS', 'MEMBERSHIPS', 'INVOICES'))",
    "ALTER TABLE export_file ADD CONSTRAINT export_file_format_known CHECK (format IN ('NDJSON', 'CSV'))",
    'ALTER TABLE export_chunk ADD CONSTRAINT export_chunk_once UNIQUE (file_id, number)',
    'ALTER TABLE webhook_endpoint ADD CONSTRAINT webhook_endpoint_off_says_why CHECK (enabled OR disabled_because IS NOT NULL)',
    "ALTER TABLE webhook_message ADD CONSTRAINT webhook_message_state_known CHECK (state IN ('PENDING', 'DELIVERED', 'FAILED'))",
    "ALTER TABLE webhook_message ADD CONSTRAINT webhook_message_delivered_when CHECK ((state = 'DELIVERED') = (delivered_at IS NOT NULL))",
    'ALTER TABLE webhook_message ADD CONSTRAINT webhook_message_once UNIQUE (endpoint_id, event_id)',
]


class Migration(migrations.Migration):
    dependencies = [('models', '0006_ledger_and_corrections')]

    initial = False

    operations = [AtOnce([
        ops.CreateModel(
            name='ExportFile',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('job', fields.OneToOneField('models.Job', source_field='job_id', db_constraint=True, to_field='id', related_name='export_file', on_delete=OnDelete.RESTRICT)),
                ('api_key', fields.ForeignKeyField('models.ApiKey', source_field='api_key_id', null=True, db_constraint=True, to_field='id', related_name='export_files', on_delete=OnDelete.RESTRICT)),
                ('kind', fields.CharEnumField(description='USERS: USERS\nMEMBERSHIPS: MEMBERSHIPS\nINVOICES: INVOICES', enum_type=ExportKind, max_length=24)),
                ('format', fields.CharEnumField(description='NDJSON: NDJSON\nCSV: CSV', enum_type=ExportFormat, max_length=24)),
                ('asked_for', fields.JSONField(default=dict, encoder=JSON_DUMPS, decoder=loads)),
                ('done_until', fields.UUIDField(null=True)),
                ('finished_at', fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ('expires_at', fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'export_file', 'app': 'models', 'constraints': [CheckConstraint(check="kind IN ('USERS', 'MEMBERSHIPS', 'INVOICES')", name='export_file_kind_known'), CheckConstraint(check="format IN ('NDJSON', 'CSV')", name='export_file_format_known')], 'indexes': [Index(fields=['expires_at'])], 'pk_attr': 'id', 'table_description': 'Rows of one kind written out for whoever asked, until it expires; `asked_for` is the filter of its rows.'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='ExportChunk',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('file', fields.ForeignKeyField('models.ExportFile', source_field='file_id', db_constraint=True, to_field='id', related_name='chunks', on_delete=OnDelete.RESTRICT)),
                ('number', fields.IntField()),
                ('content', fields.TextField(unique=False)),
            ],
            options={'table': 'export_chunk', 'app': 'models', 'constraints': [UniqueConstraint(fields=('file_id', 'number'), name='export_chunk_once')], 'pk_attr': 'id', 'table_description': 'A part of an exported file, in its order.'},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('api_key', fields.ForeignKeyField('models.ApiKey', source_field='api_key_id', null=True, db_constraint=True, to_field='id', related_name='webhook_endpoints', on_delete=OnDelete.RESTRICT)),
                ('url', fields.CharField(max_length=500)),
                ('description', fields.CharField(default='', max_length=200)),
                ('topics', fields.JSONField(default=list, encoder=JSON_DUMPS, decoder=loads)),
                ('secrets', fields.TextField(unique=False)),
                ('hint', fields.CharField(max_length=8)),
                ('enabled', fields.BooleanField(default=True)),
                ('disabled_because', fields.CharField(null=True, max_length=200)),
                ('failing_since', fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'webhook_endpoint', 'app': 'models', 'constraints': [CheckConstraint(check='enabled OR disabled_because IS NOT NULL', name='webhook_endpoint_off_says_why')], 'indexes': [Index(fields=['api_key_id', 'id'])], 'pk_attr': 'id', 'table_description': "An address of a partner's that is told of events of some topics; `api_key` is whose it is, None for the office's."},
            bases=['Row'],
        ),
        ops.CreateModel(
            name='WebhookMessage',
            fields=[
                ('id', fields.UUIDField(primary_key=True, default=new_id, unique=True, db_index=True)),
                ('created_at', fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ('updated_at', fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ('endpoint', fields.ForeignKeyField('models.WebhookEndpoint', source_field='endpoint_id', db_constraint=True, to_field='id', related_name='messages', on_delete=OnDelete.RESTRICT)),
                ('event_id', fields.CharField(max_length=64)),
                ('topic', fields.CharField(max_length=40)),
                ('name', fields.CharField(max_length=60)),
                ('subject', fields.CharField(max_length=80)),
                ('body', fields.JSONField(default=dict, encoder=JSON_DUMPS, decoder=loads)),
                ('state', fields.CharEnumField(default=DeliveryState.PENDING, description='PENDING: PENDING\nDELIVERED: DELIVERED\nFAILED: FAILED', enum_type=DeliveryState, max_length=24)),
                ('attempts', fields.IntField(default=0)),
                ('last_status', fields.IntField(null=True)),
                ('last_error', fields.CharField(null=True, max_length=200)),
                ('delivered_at', fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={'table': 'webhook_message', 'app': 'models', 'constraints': [CheckConstraint(check="state IN ('PENDING', 'DELIVERED', 'FAILED')", name='webhook_message_state_known'), CheckConstraint(check="(state = 'DELIVERED') = (delivered_at IS NOT NULL)", name='webhook_message_delivered_when'), UniqueConstraint(fields=('endpoint_id', 'event_id'), name='webhook_message_once')], 'indexes': [Index(fields=['endpoint_id', 'state', 'id']), Index(fields=['created_at', 'id'])], 'pk_attr': 'id', 'table_description': 'One event for one endpoint, delivered at least once and in order for each `subject`.'},
            bases=['Row'],
        ),
        ops.AddField(
            model_name='ApiKey',
            name='previous_hash',
            field=fields.CharField(null=True, max_length=64),
        ),
        ops.AddField(
            model_name='ApiKey',
            name='previous_until',
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddConstraint(
            model_name='ApiKey',
            constraint=CheckConstraint(check='(previous_hash IS NULL) = (previous_until IS NULL)', name='api_key_previous_ends'),
        ),
        ops.RunSQL(CONSTRAINTS),
    ])]
