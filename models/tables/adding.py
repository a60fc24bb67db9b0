"""What the library's migrations lack: a column that the rows of a filled table take its default in."""

from tortoise.migrations.operations import AddField
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_generator.state import State


class AddFilled(AddField):
    """Add a column that may not be empty: the library adds it without its default, which a filled table refuses."""

    async def database_forward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        """Add it with its default, which only rows that are there already need: new ones bring it along."""
        if state_editor is None:
            return
        model = new_state.apps.get_model(f"{app_label}.{self.model_name}")
        field = model._meta.fields_map[self.name]
        undeclared, field.db_default = field.db_default, field.default
        await super().database_forward(app_label, old_state, new_state, state_editor)
        field.db_default = undeclared
        column = model._meta.fields_db_projection[self.name]
        await state_editor._run_sql(f'ALTER TABLE "{model._meta.db_table}" ALTER COLUMN "{column}" DROP DEFAULT')
