"""Centres and the setting groups they share prices by."""

from uuid import UUID

from tortoise import fields

from models.tables.row import Row, belongs_to, check


class SettingGroup(Row):
    """A group of centres that share settings, prices among them (R25)."""

    name = fields.CharField(max_length=80, unique=True)

    class Meta:
        table = "setting_group"


class Centre(Row):
    """A place with its own zone and currency; `practice_location` is its id in the practice system, if it has one.

    Its gates open so many minutes before and after a class for who is on its roster (R14).
    """

    name = fields.CharField(max_length=80, unique=True)
    zone = fields.CharField(max_length=64)
    currency = fields.CharField(max_length=3)
    setting_group_id: UUID | None
    setting_group = belongs_to("SettingGroup", "centres", null=True)
    practice_location = fields.CharField(max_length=64, null=True, unique=True)
    minutes_before = fields.IntField(default=30)
    minutes_after = fields.IntField(default=30)

    class Meta:
        table = "centre"
        constraints = (check("centre_minutes_not_negative", "minutes_before >= 0 AND minutes_after >= 0"),)
