"""What a membership type covers, from when on, and the one product it stands for (R94, R97)."""

import asyncio
from typing import Any

import pytest

from models.actions import catalogue, catalogue_changes, invoices
from models.rules.pricing import Integration, MembershipKind
from models.rules.refusals import Code, Refusal
from models.tables.invoice import AllocationShare
from models.tables.membership import Coverage, MembershipType
from tests.build import (
    BY,
    DAY,
    NOW,
    WEEK,
    a_clinic,
    a_name,
    a_subscriber,
    attend,
    happening,
    nothing_written,
    refused,
    spread,
    tell,
)

pytestmark = pytest.mark.usefixtures("database")


async def a_kind(**options: Any) -> MembershipType:
    return await catalogue.create_membership_type(
        name=a_name("Kind"),
        integration=Integration.NOOKAL,
        kind=MembershipKind.ONGOING,
        acting=BY,
        at=NOW,
        **options,
    )


async def test_classes_are_covered_from_now_on_and_judged_as_they_were() -> None:
    """R97: rows of coverage end and begin at an instant; an invoice of before keeps the classes of before."""
    clinic = await a_subscriber()
    other = await catalogue.create_class_type(name="Yoga", practice_id=a_name("ct"), acting=BY, at=NOW)
    assert other.practice_id is not None
    seats = [
        clinic.seat(1, NOW + DAY),
        clinic.seat(2, NOW + 3 * DAY),
        clinic.seat(3, NOW + DAY, class_type=other.practice_id),
        clinic.seat(4, NOW + 3 * DAY, class_type=other.practice_id),
    ]
    await attend(*seats)
    await tell(clinic.invoiced(50_00))
    assert await spread(await clinic.invoice()) == [25_00, 25_00]

    changed: dict[str, Any] = {"membership_type_id": clinic.kind.id, "class_type_ids": [other.id], "acting": BY}
    (before,) = await Coverage.filter(membership_type_id=clinic.kind.id)
    async with happening() as seen:
        await catalogue_changes.update_membership_type(**changed, at=NOW + 2 * DAY)
    assert [(entry.verb, entry.before, entry.after) for entry in seen.audit] == [
        ("cover_classes", {"class_types": [str(before.class_type_id)]}, {"class_types": [str(other.id)]})
    ]
    assert [(job.kind, job.payload) for job in seen.jobs] == [("invoices.respread", {"user_id": str(clinic.user.id)})]
    rows = await Coverage.filter(membership_type_id=clinic.kind.id).order_by("covered_from")
    assert [(row.class_type_id, row.covered_from, row.covered_until) for row in rows] == [
        (before.class_type_id, NOW - WEEK, NOW + 2 * DAY),
        (other.id, NOW + 2 * DAY, None),
    ]
    await invoices.respread(clinic.user.id, acting=BY, at=NOW + 2 * DAY)
    carried = AllocationShare.filter(allocation__invoice__user_id=clinic.user.id, allocation__current=True)
    named = await carried.prefetch_related("attendance__class_session").order_by("position")
    assert [share.attendance.class_session.external_ref for share in named] == [
        seats[0].session_id,
        seats[3].session_id,
    ]

    async with nothing_written():
        await catalogue_changes.update_membership_type(**changed, at=NOW + 3 * DAY)
    async with refused(Code.NOT_FOUND, "classTypeIds"):
        await catalogue_changes.update_membership_type(**{**changed, "class_type_ids": [clinic.user.id]}, at=NOW)
    await catalogue_changes.update_membership_type(**{**changed, "class_type_ids": []}, at=NOW + 3 * DAY)
    await catalogue_changes.update_membership_type(**changed, at=NOW + 3 * DAY)
    await catalogue_changes.update_membership_type(**{**changed, "class_type_ids": []}, at=NOW + 3 * DAY)
    assert not await Coverage.filter(membership_type_id=clinic.kind.id, covered_until=None).exists()
    assert await Coverage.filter(membership_type_id=clinic.kind.id).count() == 2, "what never covered a class is gone"


async def test_a_product_belongs_to_one_type_and_stays_with_it() -> None:
    """R94: also where two ask for it at once."""
    clinic = await a_clinic()
    kinds = [await a_kind(centre_id=clinic.centre.id) for _ in range(2)]
    product = a_name("prod")

    async def stand_for(kind: MembershipType, product: str) -> MembershipType:
        return await catalogue_changes.update_membership_type(
            membership_type_id=kind.id, product=product, acting=BY, at=NOW
        )

    async with happening() as seen:
        answers = await asyncio.gather(*(stand_for(kind, product) for kind in kinds), return_exceptions=True)
    assert [answer.code for answer in answers if isinstance(answer, Refusal)] == [Code.PRODUCT_IN_USE]
    assert [(job.kind, job.payload) for job in seen.jobs] == [("subscriptions.adopt", {"product": product})]
    winner = next(answer for answer in answers if isinstance(answer, MembershipType))
    async with refused(Code.INVALID_INPUT, "product"):
        await stand_for(winner, a_name("prod"))
    homeless = await a_kind()
    async with refused(Code.INVALID_INPUT, "centreId"):
        await stand_for(homeless, a_name("prod"))
