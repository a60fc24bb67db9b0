from tortoise import migrations
from tortoise.migrations import operations as ops
from models.tables.migrating import AtOnce
from tortoise.indexes import Index


class Migration(migrations.Migration):
    dependencies = [('models', '0009_lists')]

    initial = False

    operations = [AtOnce([
        ops.AddIndex(
            model_name='ExternalLink',
            index=Index(fields=['user_id', 'id']),
        ),
    ])]
