"""Centres and the setting groups they share prices by."""

from uuid import UUID

from tortoise import fields

from models.tables.row import Row, belongs_to


class SettingGroup(Row):
    """A group of centres that share settings, prices among them (R25)."""

    name = fields.CharField(max_length=80, unique=True)

    class Meta:
        table = "setting_group"


class Centre(Row):
    """A place with its own zone and currency; `practice_location` is its id in the practice system, if it has one."""

    name = fields.CharField(max_length=80, unique=True)
    zone = fields.CharField(max_length=64)
    currency = fields.CharField(max_length=3)
    setting_group_id: UUID | None
    setting_group = belongs_to("SettingGroup", "centres", null=True)
    practice_location = fields.CharField(max_length=64, null=True, unique=True)

    class Meta:
        table = "centre"
