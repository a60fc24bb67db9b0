"""The credits people hold: every movement is an entry, a balance is their sum, and no balance is ever below zero.

A package is locked before anything is drawn from it or taken back; several are locked in the order of their ids.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from tortoise.functions import Sum

from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.lifecycle import TERMINAL
from models.rules.refusals import Code, Refusal
from models.rules.states import PaymentStatus
from models.tables import sql
from models.tables.course import Course
from models.tables.membership import ClassType, Coverage, Membership, MembershipType
from models.tables.package import CreditEntry, Package, PackageOffer
from models.tables.user import User

PAGE = 500
RECEIVED = (PaymentStatus.CONFIRMED, PaymentStatus.PAID_OUT)


class Reason(StrEnum):
    """Why credits moved, beside the bookings that draw them and give them back."""

    GRANT = "GRANT"
    EXPIRED = "EXPIRED"
    MEMBERSHIP_ENDED = "MEMBERSHIP_ENDED"
    PAYMENT_LOST = "PAYMENT_LOST"
    PAYMENT_REGAINED = "PAYMENT_REGAINED"


async def grant_package(
    *,
    user_id: UUID,
    name: str,
    granted: int,
    acting: str,
    at: datetime,
    valid_until: datetime | None = None,
    class_type_id: UUID | None = None,
    course_id: UUID | None = None,
    membership_id: UUID | None = None,
) -> Package:
    """Give a user a pack of credits, valid from now on. Raises Refusal NOT_FOUND, INVALID_INPUT."""
    if granted < 1:
        raise Refusal(Code.INVALID_INPUT, "A package holds at least one credit.", field=("credits",))
    if valid_until is not None and valid_until <= at:
        raise Refusal(Code.INVALID_INPUT, "A package ends in the future.", field=("validUntil",))
    async with unit(acting=acting, at=at) as work:
        if not await User.has(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        if membership_id and not await Membership.has(id=membership_id, user_id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("membershipId",))
        await check_binding(class_type_id, course_id)
        package = await Package.create(
            user_id=user_id,
            name=name,
            class_type_id=class_type_id,
            course_id=course_id,
            membership_id=membership_id,
            valid_from=at,
            valid_until=valid_until,
        )
        await give(work, [(package, granted)])
    return package


async def check_binding(class_type_id: UUID | None, course_id: UUID | None) -> None:
    """Refuse credits for both a kind of class and a course (INVALID_INPUT), or for one that is unknown (NOT_FOUND)."""
    if class_type_id and course_id:
        found = "Credits are for one kind of class or for one course."
        raise Refusal(Code.INVALID_INPUT, found, field=("courseId",))
    if class_type_id and not await ClassType.has(id=class_type_id):
        raise Refusal(Code.NOT_FOUND, field=("classTypeId",))
    if course_id and not await Course.has(id=course_id):
        raise Refusal(Code.NOT_FOUND, field=("courseId",))


async def give(work: Unit, granted: Sequence[tuple[Package, int]]) -> None:
    """Write the first entry of each package: its credits."""
    await CreditEntry.bulk_create(
        [CreditEntry(package_id=package.id, delta=number, reason=Reason.GRANT) for package, number in granted]
    )
    for package, number in granted:
        work.audit("grant_package", package, after={"credits": number, "valid_until": package.valid_until})


async def balance(package_id: UUID) -> int:
    """The credits left in a package: the sum of its entries."""
    return (await balances([package_id]))[package_id]


async def balances(package_ids: Collection[UUID]) -> dict[UUID, int]:
    """Package -> the credits left in it: the sum of its entries."""
    if not package_ids:
        return {}
    entries = CreditEntry.filter(package_id__in=list(package_ids)).annotate(left=Sum("delta"))
    sums = await entries.group_by("package_id").values_list("package_id", "left")
    return dict.fromkeys(package_ids, 0) | {package_id: int(left) for package_id, left in sums}


async def _take_back(work: Unit, packages: Sequence[Package], why: Mapping[UUID, Reason]) -> int:
    """Take what is left of locked packages, each for its reason -> how many had something left."""
    left = await balances([package.id for package in packages])
    taken = [package for package in packages if left[package.id] > 0]
    if taken:
        await CreditEntry.bulk_create(
            [CreditEntry(package_id=each.id, delta=-left[each.id], reason=why[each.id]) for each in taken]
        )
    for package in taken:
        work.audit("take_credits_back", package, after={"credits": left[package.id]}, because=[why[package.id]])
    return len(taken)


# -- what was bought --------------------------------------------------------------------------------------------------


async def paid(work: Unit, package_id: UUID) -> None:
    """The money of a package is in: its credits are granted, once, or given back where the money had been lost."""
    package = await Package.known(id=package_id, lock=True)
    if await CreditEntry.has(package_id=package.id, reason=Reason.GRANT):
        await _regained(work, package)
        return
    offer = await PackageOffer.known(id=package.offer_id)
    package.valid_from = work.at
    package.valid_until = work.at + timedelta(days=offer.valid_days) if offer.valid_days else None
    await package.save(update_fields=["valid_from", "valid_until"])
    await give(work, [(package, offer.credits)])


async def _regained(work: Unit, package: Package) -> None:
    taken = CreditEntry.filter(package_id=package.id, reason=Reason.PAYMENT_LOST, reversal__id__isnull=True)
    back = [
        CreditEntry(package_id=package.id, reverses_id=each.id, delta=-each.delta, reason=Reason.PAYMENT_REGAINED)
        for each in await taken.order_by("id")
    ]
    if back:
        await CreditEntry.bulk_create(back)
        number = sum(each.delta for each in back)
        work.audit("give_credits_back", package, after={"credits": number}, because=[Reason.PAYMENT_REGAINED])


async def unpaid(work: Unit, package_id: UUID) -> None:
    """The money of a package did not come, or was lost again: what is left goes, what was drawn stays drawn."""
    package = await Package.known(id=package_id, lock=True)
    await _take_back(work, [package], {package.id: Reason.PAYMENT_LOST})


async def sessions_paid(work: Unit, bought: Membership, *, holder: Membership) -> None:
    """The one-off price of bought sessions is in: they are granted, once, or given back where it had been lost (R7).

    They are the `holder`'s: the membership itself, or what took over from it.
    """
    package = await _sessions_of(bought, holder)
    if package is not None:
        await _regained(work, package)
        return
    kind = await MembershipType.known(id=bought.membership_type_id)
    if kind.sessions is None:
        return
    covered = await Coverage.filter(membership_type_id=kind.id, covered_until__isnull=True).limit(2)
    package = await Package.create(
        user_id=holder.user_id,
        name=kind.name,
        membership_id=holder.id,
        class_type_id=covered[0].class_type_id if len(covered) == 1 else None,
        period_start=bought.starts_on,
        valid_from=work.at,
    )
    await give(work, [(package, kind.sessions)])


async def sessions_unpaid(work: Unit, bought: Membership, *, holder: Membership) -> None:
    """The one-off price of bought sessions was lost again: what is left of them goes, what was used stays used."""
    package = await _sessions_of(bought, holder)
    if package is not None:
        await _take_back(work, [package], {package.id: Reason.PAYMENT_LOST})


async def _sessions_of(bought: Membership, holder: Membership) -> Package | None:
    kind = await MembershipType.known(id=bought.membership_type_id)
    if kind.sessions is None:
        return None
    # a membership grants one package for a first day, and the database sees to it
    granted = Package.filter(membership_id__in=[bought.id, holder.id], period_start=bought.starts_on)
    return await granted.select_for_update().first()


# -- what ended -------------------------------------------------------------------------------------------------------


async def ended(work: Unit, membership_id: UUID) -> None:
    """A membership ended for good: what is left of its credits goes with it."""
    packages = await Package.every(membership_id=membership_id, lock=True, order=("id",))
    await _take_back(work, packages, dict.fromkeys((each.id for each in packages), Reason.MEMBERSHIP_ENDED))


# Packages that may hold no credits, each with the `Reason`.
_SPENT = """
    SELECT p.id, CASE
        WHEN y.status <> ALL ($2::text[]) THEN 'PAYMENT_LOST'
        WHEN m.status = ANY ($3::text[]) THEN 'MEMBERSHIP_ENDED'
        WHEN p.valid_until <= $1 THEN 'EXPIRED' END AS reason
    FROM package p
    LEFT JOIN payment y ON y.package_id = p.id
    LEFT JOIN membership m ON m.id = p.membership_id
"""
# one pass over the entries: by far the most packages are over and empty, and asking each for its balance takes longer
_TO_EMPTY = f"""
    SELECT s.id FROM ({_SPENT}) s
    JOIN (SELECT package_id FROM credit_entry GROUP BY package_id HAVING sum(delta) > 0) e ON e.package_id = s.id
    WHERE s.reason IS NOT NULL AND s.id > $4 ORDER BY s.id LIMIT $5
"""  # noqa: S608  words of this file
_WHY = f"SELECT s.id, s.reason FROM ({_SPENT}) s WHERE s.reason IS NOT NULL AND s.id = ANY ($4::uuid[])"  # noqa: S608


async def expire(*, acting: str, at: datetime, page: int = PAGE) -> int:
    """Take back what is left of packages that are over -> how many.

    So goes, too, what was given back to a package after its money was lost or its membership ended.
    """
    last: UUID | None = UUID(int=0)
    number = 0
    while last is not None:
        last, taken = await _expire_page(last, page, acting, at)
        number += taken
    return number


@repeated
async def _expire_page(after: UUID, page: int, acting: str, at: datetime) -> tuple[UUID | None, int]:
    async with unit(acting=acting, at=at) as work:
        known = [at, list(RECEIVED), list(TERMINAL)]
        found = [row["id"] for row in await sql.rows(_TO_EMPTY, *known, after, page)]
        if not found:
            return None, 0
        packages = await Package.filter(id__in=found).select_for_update().order_by("id")
        # asked anew under the lock: money may have come back while it was waited for
        why = {row["id"]: Reason(row["reason"]) for row in await sql.rows(_WHY, *known, found)}
        taken = await _take_back(work, [package for package in packages if package.id in why], why)
    return found[-1], taken
