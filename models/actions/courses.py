"""Courses of our own, with their classes and the terms they are booked on."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack
from uuid import UUID

from models.actions import waiting
from models.actions.transaction import repeated
from models.actions.unit import unit
from models.rules.booking import Basis, Pricing
from models.rules.refusals import Code, Refusal
from models.rules.returns import CancellationPolicy, DeletionPolicy
from models.rules.states import Owner
from models.tables.centre import Centre
from models.tables.course import ClassSession, Course
from models.tables.membership import ClassType
from models.tables.pricing import PricingOption

MOST_HOURS = 366 * 24
_LEAST = {"capacity": 1, "notice_hours": 0, "offer_hours": 1}
_MOST = {"notice_hours": MOST_HOURS, "offer_hours": MOST_HOURS}


class Terms(TypedDict, total=False):
    """What a course may be told to do otherwise than by default; see its columns."""

    per_class_basis: Basis
    package_joins_late: bool
    on_cancellation: CancellationPolicy
    on_deletion: DeletionPolicy
    notice_hours: int
    offer_hours: int


class Changes(Terms, total=False):
    """What of a course can be changed."""

    name: str
    capacity: int


async def create_course(
    *,
    name: str,
    centre_id: UUID,
    pricing_option_id: UUID,
    pricing: Pricing,
    capacity: int,
    sessions: Sequence[tuple[datetime, datetime]],
    acting: str,
    at: datetime,
    class_type_id: UUID | None = None,
    **terms: Unpack[Terms],
) -> Course:
    """Offer a course of classes [starts_at, ends_at).

    Raises Refusal NOT_FOUND, UNKNOWN_PRICING_OPTION, CURRENCY_MISMATCH, INVALID_INPUT.
    """
    _check_numbers({"capacity": capacity, **terms})
    _check_sessions(sessions)
    async with unit(acting=acting, at=at) as work:
        await _check_sold_at(centre_id, pricing_option_id, class_type_id)
        course = await Course.create(
            name=name,
            centre_id=centre_id,
            pricing_option_id=pricing_option_id,
            pricing=pricing,
            capacity=capacity,
            class_type_id=class_type_id,
            **terms,
        )
        await ClassSession.bulk_create(
            [
                ClassSession(
                    course_id=course.id, class_type_id=class_type_id, centre_id=centre_id, starts_at=start, ends_at=end
                )
                for start, end in sessions
            ]
        )
        work.audit("create_course", course, after={"name": name, "classes": len(sessions), "pricing": pricing})
    return course


@repeated
async def update_course(course_id: UUID, *, acting: str, at: datetime, **changes: Unpack[Changes]) -> Course:
    """Change a course of ours; bookings keep what they were made on, and places that come free are offered.

    Hours are at most a leap year's. Raises Refusal NOT_FOUND, OWNED_BY_COURSEPRO, INVALID_INPUT, CAPACITY_TAKEN.
    """
    _check_numbers(changes)
    async with unit(acting=acting, at=at) as work:
        course = await waiting.locked(course_id)
        if course.owner is Owner.COURSEPRO:
            raise Refusal(Code.OWNED_BY_COURSEPRO, field=("courseId",))
        after = {name: value for name, value in changes.items() if getattr(course, name) != value}
        if not after:
            return course
        kept = await waiting.places_kept(course.id, at)
        if changes.get("capacity", kept) < kept:
            raise Refusal(Code.CAPACITY_TAKEN, f"{kept} places are taken.", field=("capacity",))
        work.audit("update_course", course, before={name: getattr(course, name) for name in after}, after=after)
        course.update_from_dict(after)
        await course.save(update_fields=list(after))
        if "capacity" in after:
            await waiting.offer_places(work, course.id)
    return course


def _check_numbers(given: Mapping[str, Any]) -> None:
    for name, least in _LEAST.items():
        most = _MOST.get(name, given.get(name, least))
        if name in given and not least <= given[name] <= most:
            first, *rest = name.split("_")
            found = f"It is {least} at least" + (f" and {most} at most." if name in _MOST else ".")
            raise Refusal(Code.INVALID_INPUT, found, field=(first + "".join(word.title() for word in rest),))


def _check_sessions(sessions: Sequence[tuple[datetime, datetime]]) -> None:
    if not sessions:
        raise Refusal(Code.INVALID_INPUT, "A course has at least one class.", field=("sessions",))
    for number, (starts_at, ends_at) in enumerate(sessions):
        if starts_at >= ends_at:
            raise Refusal(Code.INVALID_INPUT, "A class ends after it starts.", field=("sessions", str(number)))


async def _check_sold_at(centre_id: UUID, pricing_option_id: UUID, class_type_id: UUID | None) -> None:
    centre = await Centre.one(id=centre_id)
    if centre is None:
        raise Refusal(Code.NOT_FOUND, field=("centreId",))
    option = await PricingOption.one(id=pricing_option_id)
    if option is None:
        raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionId",))
    if option.currency != centre.currency:
        raise Refusal(Code.CURRENCY_MISMATCH, field=("pricingOptionId",))
    if class_type_id and not await ClassType.has(id=class_type_id):
        raise Refusal(Code.NOT_FOUND, field=("classTypeId",))
