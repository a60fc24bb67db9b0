from tortoise import migrations
from tortoise.migrations import operations as ops
from models.tables.migrating import AtOnce
from models.rules.states import KeyPurpose
from tortoise import fields
from tortoise.migrations.constraints import CheckConstraint

class Migration(migrations.Migration):
    dependencies = [('models', '0004_coursepro')]

    initial = False

    operations = [AtOnce([
        ops.RemoveConstraint(
            model_name='ApiKey',
            name='api_key_purpose_known',
            fields=None,
        ),
        ops.AlterField(
            model_name='ApiKey',
            name='purpose',
            field=fields.CharEnumField(default=KeyPurpose.API, description='API: API\nCOURSEPRO: COURSEPRO\nGATE: GATE', enum_type=KeyPurpose, max_length=24),
        ),
        ops.AddConstraint(
            model_name='ApiKey',
            constraint=CheckConstraint(check="purpose IN ('API', 'COURSEPRO', 'GATE')", name='api_key_purpose_known'),
        ),
    ])]
