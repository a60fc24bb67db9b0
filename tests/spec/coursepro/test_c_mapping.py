"""How a course of CoursePro finds its price here, as the document on CoursePro reads in section C."""

from typing import Any

import pytest

from models.actions import catalogue, mappings, settings
from models.actions.vault import Vault
from models.rules.pricing import Integration, Level, OptionType, visible_to_coursepro
from models.rules.refusals import Code
from models.rules.states import Provider
from models.tables.coursepro import CourseMapping
from models.tables.row import new_id
from tests.build import NOW, a_centre, a_user, an_option, nothing_written, refused
from tests.sold import FIXED_TERM, ONGOING, WHO, a_sold, a_type, buy


@pytest.mark.parametrize(
    ("integration", "types", "configured", "visible"),
    [
        (Integration.COURSEPRO_COURSE, [OptionType.COURSEPRO_COURSE], True, True),
        (Integration.COURSEPRO_COURSE, [OptionType.COURSEPRO_COURSE], False, False),
        (Integration.COURSEPRO_COURSE, [], True, False),
        (Integration.COURSEPRO_COURSE, [OptionType.STANDARD], True, False),
        (Integration.NONE, [OptionType.COURSEPRO_COURSE], True, False),
    ],
)
def test_coursepro_sees_what_is_typed_for_it_once_it_is_configured(
    integration: Integration, types: list[OptionType], configured: bool, visible: bool
) -> None:
    assert visible_to_coursepro(integration, types, configured=configured) is visible


@pytest.mark.usefixtures("database")
async def test_the_sheet_has_ids_names_and_the_price_at_each_centre() -> None:
    """R26, R31: a centre of another currency sells nothing at the option."""
    sold = await a_sold()
    euro, dear = await a_centre("EUR"), await a_centre()
    await catalogue.set_price_override(pricing_option_id=sold.option.id, centre_id=dear.id, amount=36_00, **WHO)
    (line,) = await mappings.mapping_sheet(at=NOW, membership_type_id=sold.kind.id)
    assert (line.kind.id, line.option.id) == (sold.kind.id, sold.option.id)
    prices = {centre.id: (price.amount, price.level) for centre, price in line.prices}
    assert prices[sold.centre.id] == (32_00, Level.BASE)
    assert prices[dear.id] == (36_00, Level.CENTRE)
    assert euro.id not in prices
    other = await catalogue.create_membership_type(
        name="Gold", integration=Integration.NONE, kind=ONGOING, pricing_option_ids=[sold.option.id], **WHO
    )
    assert await mappings.mapping_sheet(at=NOW, membership_type_id=other.id) == []


@pytest.mark.usefixtures("database")
async def test_nothing_is_visible_before_everything_is_entered(secret_key: str) -> None:
    """R37: the user sync switch plays no part."""
    assert not await mappings.configured()
    await settings.configure_provider(
        Provider.COURSEPRO,
        settings={"client_id": "club", "cart_complete_url": "https://a.test/c", "user_sync_url": "https://a.test/u"},
        secrets={"secret_token": "a secret of theirs"},
        enabled=False,
        vault=Vault(secret_key),
        **WHO,
    )
    assert await mappings.configured()


@pytest.mark.usefixtures("database")
async def test_a_course_is_mapped_to_one_price_in_its_centre() -> None:
    """R8, R32."""
    sold = await a_sold()
    given: dict[str, Any] = {
        "course_ref": sold.ref,
        "pricing_option_id": sold.option.id,
        "centre_id": sold.centre.id,
        **WHO,
    }
    async with nothing_written():
        await mappings.map_course(**given)
    await buy(await a_user(), sold)
    assert (await CourseMapping.get(course_ref=sold.ref)).verified_at == NOW
    kind, option = await a_type(FIXED_TERM, 90_00)
    changed = await mappings.map_course(**{**given, "pricing_option_id": option.id})
    assert (changed.membership_type_id, changed.verified_at) == (kind.id, None)
    for changes, code, field in (
        ({"pricing_option_id": new_id()}, Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"),
        ({"pricing_option_id": (await an_option()).id}, Code.PRICING_OPTION_NOT_COURSEPRO, "pricingOptionId"),
        ({"centre_id": new_id()}, Code.NOT_FOUND, "centreId"),
        ({"centre_id": (await a_centre("EUR")).id}, Code.CURRENCY_MISMATCH, "centreId"),
        ({"course_ref": "x" * 65}, Code.INVALID_INPUT, "courseRef"),
    ):
        async with refused(code, field):
            await mappings.map_course(**{**given, **changes})
