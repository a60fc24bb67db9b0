"""What the library's migrations lack: speed, and columns that the rows of a filled table take their default in."""

from collections.abc import Iterable
from typing import Any

from tortoise.migrations.operations import AddField, TortoiseOperation
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_generator.state import State


class AtOnce(TortoiseOperation):
    """Operations that add to what is there, the models worked out once for all of them.

    By itself the library works out every model anew before and after each operation, some ten seconds for our tables.
    """

    def __init__(self, operations: Iterable[TortoiseOperation]) -> None:
        self.operations = list(operations)

    def describe(self) -> str:
        """What they do, one after the other."""
        return "; ".join(each.describe() for each in self.operations)

    def state_forward(self, app_label: str, state: State) -> None:
        """Take all into the state, and work it out at the end."""
        touched: set[tuple[str, str]] = set()
        wait: Any = touched.update
        state.reload_models = wait  # type: ignore[method-assign]  # the library offers no other way to wait
        try:
            for each in self.operations:
                each.state_forward(app_label, state)
        finally:
            del state.reload_models
        state.reload_models(touched)

    async def database_forward(
        self, app_label: str, old_state: State, new_state: State, state_editor: BaseSchemaEditor | None = None
    ) -> None:
        """Do one after the other."""
        for each in self.operations:
            await each.database_forward(app_label, old_state, new_state, state_editor)


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
