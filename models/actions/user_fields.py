"""The fields an operator collects of people beside the fixed ones: one set with one version (R56)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from models.actions.transaction import alone
from models.actions.unit import Unit, unit
from models.ports import FieldsPush
from models.rules import people
from models.rules.events import UserFieldsChanged
from models.rules.people import FIXED, Field
from models.rules.refusals import Code, Refusal
from models.tables import sql
from models.tables.user import UserField

THE_SET = UUID("5e70f000-0000-4000-8000-0000000000f1")  # there is one; audit rows and jobs call it by this id
FIRST_VERSION = 1


@dataclass(frozen=True, slots=True)
class FieldSet:
    """The configured fields by name, and the version of the set."""

    version: int
    configured: tuple[Field, ...]

    @property
    def all(self) -> tuple[Field, ...]:
        """Every field that is collected, the fixed ones first."""
        return (*FIXED, *self.configured)

    @property
    def names(self) -> frozenset[str]:
        """The names of all that may be told of a person."""
        return people.whitelist(field.name for field in self.configured)


# $1 is the set, which has no row of its own; where it was emptied only the audit knows its version
_CONFIGURED = """
SELECT (SELECT (after->>'version')::int FROM audit_entry WHERE subject_id = $1 ORDER BY id DESC LIMIT 1) AS told,
  field.name, field.label, field.required, field.version
FROM (SELECT 1) AS the_set LEFT JOIN user_field AS field ON true
ORDER BY field.name
"""


async def configured() -> FieldSet:
    """The set as it is now."""
    found = await sql.rows(_CONFIGURED, THE_SET)
    version = max(FIRST_VERSION, *(number or 0 for row in found for number in (row["version"], row["told"])))
    named = tuple(Field(row["name"], row["label"], row["required"]) for row in found if row["name"] is not None)
    return FieldSet(version, named)


async def set_user_field(*, name: str, label: str, required: bool, acting: str, at: datetime) -> UserField:
    """Collect a field, or change it; people who lack a required one are asked at their next change of it.

    The same again changes nothing. Raises Refusal INVALID_INPUT, BILLING_DETAILS_REFUSED.
    """
    people.checked_field(name, label)
    async with unit(acting=acting, at=at) as work:
        await alone("user fields")
        row = await UserField.one(name=name)
        if row is not None and (row.label, row.required) == (label, required):
            return row
        if row is None:
            row = await UserField.create(name=name, label=label, required=required)
        else:
            row.label, row.required = label, required
            await row.save(update_fields=["label", "required"])
        row.version = await _raised(work, "set_user_field", {"name": name, "label": label, "required": required})
    return row


async def remove_user_field(name: str, *, acting: str, at: datetime) -> None:
    """Collect a field no longer; what people gave stays with them and is told to nobody. Raises Refusal NOT_FOUND."""
    async with unit(acting=acting, at=at) as work:
        await alone("user fields")
        if not await UserField.filter(name=name).delete():
            raise Refusal(Code.NOT_FOUND, f"No field is called {name!r}.", field=("name",))
        await _raised(work, "remove_user_field", {"name": name})


async def _raised(work: Unit, verb: str, after: dict[str, str | bool]) -> int:
    version = (await configured()).version + 1
    await UserField.all().update(version=version)
    before = {"version": version - 1}
    work.audit(verb, ("UserFields", THE_SET), before=before, after={**after, "version": version})
    work.emit(UserFieldsChanged(user_fields_id=THE_SET))
    return version


async def to_push(*, event_id: str, at: datetime) -> FieldsPush:
    """What the course system should know of the fields now (R56)."""
    now = await configured()
    return FieldsPush(event_id=event_id, version=now.version, fields=now.all, occurred_at=at)
