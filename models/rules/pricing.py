"""What a thing costs where and when, and which pricing option may serve which membership. Source: CoursePro, A-C."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from models.rules.refusals import Code, Refusal


class Level(StrEnum):
    """Where a price was found (R25, R26)."""

    CENTRE = "CENTRE"
    SETTING_GROUP = "SETTING_GROUP"
    BASE = "BASE"


PRECEDENCE = (Level.CENTRE, Level.SETTING_GROUP, Level.BASE)  # R25: the nearest price wins


class OptionType(StrEnum):
    """What a pricing option is for; CoursePro sees only its own type (R23)."""

    STANDARD = "STANDARD"
    COURSEPRO_COURSE = "COURSEPRO_COURSE"


class Frequency(StrEnum):
    """How often a payment option is paid: monthly until it ends, or once (R10, R21)."""

    RECURRING = "RECURRING"
    FIXED = "FIXED"


class Integration(StrEnum):
    """The outside system a membership type works with, chosen at its creation (R27)."""

    NONE = "NONE"
    COURSEPRO_COURSE = "COURSEPRO_COURSE"
    NOOKAL = "NOOKAL"


class MembershipKind(StrEnum):
    """Open-ended, of a fixed length, or a number of one-off sessions (R5, R6, R7)."""

    ONGOING = "ONGOING"
    FIXED_TERM = "FIXED_TERM"
    SESSIONS = "SESSIONS"


FREQUENCY: dict[MembershipKind, Frequency] = {  # R10
    MembershipKind.ONGOING: Frequency.RECURRING,
    MembershipKind.FIXED_TERM: Frequency.FIXED,
    MembershipKind.SESSIONS: Frequency.FIXED,
}

FITS: dict[Integration, frozenset[OptionType]] = {  # R28
    Integration.NONE: frozenset(OptionType),
    Integration.COURSEPRO_COURSE: frozenset({OptionType.COURSEPRO_COURSE}),
    Integration.NOOKAL: frozenset(OptionType),
}


@dataclass(frozen=True, slots=True)
class Override:
    """Another amount (minor units) for one centre or one setting group, from a day on and before another (R24, R25).

    None leaves that side open. ValueError unless exactly one of the two scopes is named; Refusal NEGATIVE_AMOUNT.
    """

    centre_id: UUID | None
    setting_group_id: UUID | None
    amount: int
    effective_from: date | None = None
    effective_until: date | None = None

    def __post_init__(self) -> None:
        if (self.centre_id is None) == (self.setting_group_id is None):
            raise ValueError("an override names a centre or a setting group")
        check_amount(self.amount)

    @property
    def level(self) -> Level:
        """The level this override speaks for."""
        return Level.SETTING_GROUP if self.centre_id is None else Level.CENTRE

    def applies(self, *, centre_id: UUID | None, setting_group_id: UUID | None, on: date) -> bool:
        """Whether it speaks for this centre or group on this day; its last day is outside (D3)."""
        here = self.setting_group_id == setting_group_id if self.centre_id is None else self.centre_id == centre_id
        begun = self.effective_from is None or self.effective_from <= on
        over = self.effective_until is not None and self.effective_until <= on
        return here and begun and not over


@dataclass(frozen=True, slots=True)
class Price:
    """An amount in minor units and the level it was found at (R26)."""

    amount: int
    level: Level


def price_at(
    base: int, overrides: Iterable[Override], *, centre_id: UUID | None, setting_group_id: UUID | None, on: date
) -> Price:
    """(base amount, overrides, the course's centre and its setting group, day) -> Price.

    Centre beats setting group beats base; of several at one level the one that began last wins, so a price is changed
    by adding the next one. Refusal NEGATIVE_AMOUNT.        Source: CoursePro, B step 3; R24-R26
    """
    check_amount(base)
    found = {Level.BASE: base}
    for override in sorted(overrides, key=lambda each: each.effective_from or date.min):
        if override.applies(centre_id=centre_id, setting_group_id=setting_group_id, on=on):
            found[override.level] = override.amount
    level = next(level for level in PRECEDENCE if level in found)
    return Price(found[level], level)


def check_amount(amount: int) -> None:
    """Refuse a price below zero (NEGATIVE_AMOUNT); zero is a free course. Source: R22."""
    if amount < 0:
        raise Refusal(Code.NEGATIVE_AMOUNT, f"{amount} is below zero.", field=("amount",))


def check_option_fits(integration: Integration, option_type: OptionType) -> None:
    """Refuse a pricing option the membership's integration cannot show (PRICING_OPTION_NOT_COURSEPRO).

    Source: CoursePro, B step 5 and C; R23, R28, R33
    """
    if option_type not in FITS[integration]:
        raise Refusal(Code.PRICING_OPTION_NOT_COURSEPRO, field=("pricingOptionId",))


def check_retyping(used_by: Iterable[Integration], option_type: OptionType) -> None:
    """Refuse another type for an option in use where that type does not fit (PRICING_OPTION_IN_USE). Source: R33."""
    if any(option_type not in FITS[integration] for integration in used_by):
        raise Refusal(Code.PRICING_OPTION_IN_USE, field=("type",))


def check_another_option(integration: Integration, options_held: int) -> None:
    """Refuse a second payment option of a CoursePro membership (ONE_PAYMENT_OPTION_ONLY).

    Source: CoursePro, B step 5; R29
    """
    if integration is Integration.COURSEPRO_COURSE and options_held >= 1:
        raise Refusal(Code.ONE_PAYMENT_OPTION_ONLY)


def check_frequency(kind: MembershipKind, frequency: Frequency) -> None:
    """Refuse a frequency the kind is not paid by (FREQUENCY_DOES_NOT_FIT). Source: CoursePro; R10."""
    if FREQUENCY[kind] is not frequency:
        raise Refusal(Code.FREQUENCY_DOES_NOT_FIT, field=("frequency",))


def check_integration(chosen: Integration, wanted: Integration) -> None:
    """Refuse another integration after creation (INTEGRATION_FIXED). Source: CoursePro, B step 4; R27."""
    if wanted is not chosen:
        raise Refusal(Code.INTEGRATION_FIXED, field=("integration",))


def visible_to_coursepro(integration: Integration, option_types: Iterable[OptionType], *, configured: bool) -> bool:
    """Whether CoursePro sees a membership type: its own integration, only its own options, all credentials entered.

    The user sync switch plays no part.        Source: CoursePro, C; R27, R33, R34, R36, R37
    """
    types = set(option_types)
    return configured and integration is Integration.COURSEPRO_COURSE and types == {OptionType.COURSEPRO_COURSE}
