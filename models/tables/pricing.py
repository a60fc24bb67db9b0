"""Pricing options and their overrides by centre and setting group (R20-R26)."""

from uuid import UUID

from tortoise import fields

from models.rules.pricing import Frequency, OptionType
from models.tables.row import Row, belongs_to, check, choice, minor_units, one_of, unique


class PricingOption(Row):
    """A fee in minor units, fixed or recurring; zero is a free course, negative is refused (R22)."""

    name = fields.CharField(max_length=120)
    option_type: OptionType = choice(OptionType)
    frequency: Frequency = choice(Frequency)
    amount: int = minor_units()
    currency = fields.CharField(max_length=3)

    class Meta:
        table = "pricing_option"
        constraints = (
            one_of("pricing_option", "option_type", OptionType),
            one_of("pricing_option", "frequency", Frequency),
            check("pricing_option_amount_not_negative", "amount >= 0"),
        )


class PriceOverride(Row):
    """Another amount for one centre or one setting group, from a day (inclusive) until a day (exclusive)."""

    pricing_option_id: UUID
    pricing_option = belongs_to("PricingOption", "overrides")
    centre_id: UUID | None
    centre = belongs_to("Centre", "overrides", null=True)
    setting_group_id: UUID | None
    setting_group = belongs_to("SettingGroup", "overrides", null=True)
    amount: int = minor_units()
    effective_from = fields.DateField(null=True)
    effective_until = fields.DateField(null=True)

    class Meta:
        table = "price_override"
        constraints = (
            check("price_override_amount_not_negative", "amount >= 0"),
            check("price_override_one_scope", "(centre_id IS NULL) <> (setting_group_id IS NULL)"),
            check(
                "price_override_days_in_order",
                "effective_from IS NULL OR effective_until IS NULL OR effective_from < effective_until",
            ),
            unique(
                "price_override_open_once_per_centre", "pricing_option_id", "centre_id", where="effective_from IS NULL"
            ),
            unique("price_override_once_per_centre", "pricing_option_id", "centre_id", "effective_from"),
            unique(
                "price_override_open_once_per_group",
                "pricing_option_id",
                "setting_group_id",
                where="effective_from IS NULL",
            ),
            unique("price_override_once_per_group", "pricing_option_id", "setting_group_id", "effective_from"),
        )
