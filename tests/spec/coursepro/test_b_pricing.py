"""What a course costs and which pricing options may serve it, as the document on CoursePro reads in section B."""

from datetime import date
from uuid import UUID

import pytest

from models.rules.pricing import (
    Frequency,
    Integration,
    Level,
    MembershipKind,
    OptionType,
    Override,
    Price,
    check_another_option,
    check_frequency,
    check_integration,
    check_option_fits,
    check_retyping,
    price_at,
)
from models.rules.refusals import Code, Refusal

LEISURE_CENTRE, LIDO, POOL = UUID(int=1), UUID(int=2), UUID(int=3)
INNER_CITY, SUBURBS = UUID(int=11), UUID(int=12)
TODAY = date(2025, 9, 1)
BASE = 30_00


def at_centre(centre_id: UUID, amount: int, since: date | None = None, until: date | None = None) -> Override:
    return Override(centre_id, None, amount, since, until)


def in_group(setting_group_id: UUID, amount: int) -> Override:
    return Override(None, setting_group_id, amount)


OVERRIDES = [in_group(INNER_CITY, 28_00), at_centre(LIDO, 35_00)]


@pytest.mark.parametrize(
    ("centre", "group", "price"),
    [
        (LIDO, INNER_CITY, Price(35_00, Level.CENTRE)),
        (LEISURE_CENTRE, INNER_CITY, Price(28_00, Level.SETTING_GROUP)),
        (LEISURE_CENTRE, SUBURBS, Price(BASE, Level.BASE)),
        (LEISURE_CENTRE, None, Price(BASE, Level.BASE)),
        (None, INNER_CITY, Price(28_00, Level.SETTING_GROUP)),
        (None, None, Price(BASE, Level.BASE)),
    ],
)
def test_the_same_course_costs_differently_at_different_centres(
    centre: UUID | None, group: UUID | None, price: Price
) -> None:
    assert price_at(BASE, OVERRIDES, centre_id=centre, setting_group_id=group, on=TODAY) == price


@pytest.mark.parametrize(
    ("on", "price"),
    [
        (date(2025, 8, 31), Price(30_00, Level.BASE)),
        (date(2025, 9, 1), Price(31_00, Level.CENTRE)),
        (date(2025, 9, 30), Price(31_00, Level.CENTRE)),
        (date(2025, 10, 1), Price(33_00, Level.CENTRE)),
        (date(2025, 12, 31), Price(33_00, Level.CENTRE)),
        (date(2026, 1, 1), Price(31_00, Level.CENTRE)),
    ],
)
def test_a_price_holds_from_its_first_day_and_before_its_last(on: date, price: Price) -> None:
    overrides = [at_centre(POOL, 33_00, date(2025, 10, 1), date(2026, 1, 1)), at_centre(POOL, 31_00, date(2025, 9, 1))]
    assert price_at(BASE, overrides, centre_id=POOL, setting_group_id=None, on=on) == price


def test_a_course_may_be_free_but_not_cheaper() -> None:
    assert price_at(0, [], centre_id=POOL, setting_group_id=None, on=TODAY).amount == 0
    with pytest.raises(Refusal) as refused:
        price_at(-1, [], centre_id=POOL, setting_group_id=None, on=TODAY)
    assert (refused.value.code, refused.value.field) == (Code.NEGATIVE_AMOUNT, ("amount",))
    with pytest.raises(Refusal):
        at_centre(POOL, -1)


@pytest.mark.parametrize(("centre", "group"), [(None, None), (POOL, INNER_CITY)])
def test_an_override_is_for_one_centre_or_one_group(centre: UUID | None, group: UUID | None) -> None:
    with pytest.raises(ValueError, match="a centre or a setting group"):
        Override(centre, group, 1)


def refusal_of(check: object, *arguments: object) -> Code | None:
    assert callable(check)
    try:
        check(*arguments)
    except Refusal as refusal:
        return refusal.code
    return None


def test_a_coursepro_membership_takes_options_of_its_own_type_only() -> None:
    refused = {
        (integration, option_type)
        for integration in Integration
        for option_type in OptionType
        if refusal_of(check_option_fits, integration, option_type) is Code.PRICING_OPTION_NOT_COURSEPRO
    }
    assert refused == {(Integration.COURSEPRO_COURSE, OptionType.STANDARD)}


def test_a_coursepro_membership_takes_one_payment_option() -> None:
    assert refusal_of(check_another_option, Integration.COURSEPRO_COURSE, 0) is None
    assert refusal_of(check_another_option, Integration.COURSEPRO_COURSE, 1) is Code.ONE_PAYMENT_OPTION_ONLY
    assert refusal_of(check_another_option, Integration.NONE, 5) is None


def test_an_option_in_use_keeps_its_type() -> None:
    in_use = [Integration.NONE, Integration.COURSEPRO_COURSE]
    assert refusal_of(check_retyping, in_use, OptionType.STANDARD) is Code.PRICING_OPTION_IN_USE
    assert refusal_of(check_retyping, in_use, OptionType.COURSEPRO_COURSE) is None
    assert refusal_of(check_retyping, [Integration.NONE], OptionType.STANDARD) is None


def test_each_type_of_membership_is_paid_in_its_own_way() -> None:
    fits = {
        (kind, frequency)
        for kind in MembershipKind
        for frequency in Frequency
        if refusal_of(check_frequency, kind, frequency) is None
    }
    assert fits == {
        (MembershipKind.ONGOING, Frequency.RECURRING),
        (MembershipKind.FIXED_TERM, Frequency.FIXED),
        (MembershipKind.SESSIONS, Frequency.FIXED),
    }
    assert refusal_of(check_frequency, MembershipKind.ONGOING, Frequency.FIXED) is Code.FREQUENCY_DOES_NOT_FIT


def test_the_integration_is_chosen_once() -> None:
    assert refusal_of(check_integration, Integration.NOOKAL, Integration.NOOKAL) is None
    assert refusal_of(check_integration, Integration.NONE, Integration.COURSEPRO_COURSE) is Code.INTEGRATION_FIXED
