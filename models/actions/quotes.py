"""What a booking of a course would take now: its price, its classes, and the credits the student could draw."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from models.actions.catalogue import course_price
from models.actions.packages import balances
from models.actions.unit import Unit, once_under, unit
from models.rules import booking as rules
from models.rules.booking import Method, Quote, Session
from models.rules.calendar import midnight
from models.rules.credits import Lot
from models.rules.lifecycle import STANDING
from models.rules.money import Money
from models.rules.refusals import Code, Refusal
from models.tables.centre import Centre
from models.tables.course import ClassSession, Course
from models.tables.membership import Membership
from models.tables.package import Package
from models.tables.row import new_id

HOLDS_FOR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Held:
    """A course as a booking sees it: its price, its classes, and the lots of credits the student could draw."""

    course: Course
    price: Money
    sessions: tuple[Session, ...]
    lots: tuple[Lot, ...]

    def quote(self, method: Method, at: datetime) -> Quote:
        """What the rules say. Raises Refusal."""
        return rules.quote(
            self.price,
            self.course.pricing,
            self.sessions,
            at,
            method,
            self.lots,
            self.course.per_class_basis,
            package_joins_late=self.course.package_joins_late,
        )


async def hold(
    course: Course, user_id: UUID, method: Method, package_id: UUID | None, at: datetime, *, lock: bool = False
) -> Held:
    """The course's price and classes, and the credits `method` may draw; `lock` keeps them until the transaction ends.

    With `package_id` the ways that draw from packages draw from that one alone.
    Raises Refusal PACKAGE_NOT_VALID, MEMBERSHIP_REQUIRED.
    """
    amount, currency = await course_price(course, on=at.date())
    rows = await ClassSession.every(course_id=course.id, order=("starts_at", "id"))
    return Held(
        course,
        Money(amount, currency),
        tuple(Session(row.id, row.starts_at, row.deleted_at is not None) for row in rows),
        await _lots(course, user_id, method, package_id, at, lock=lock),
    )


async def _lots(
    course: Course, user_id: UUID, method: Method, package_id: UUID | None, at: datetime, *, lock: bool
) -> tuple[Lot, ...]:
    if method is Method.PAYMENT:
        return ()
    of_membership = method is Method.MEMBERSHIP
    packages = Package.filter(user_id=user_id, membership_id__isnull=not of_membership).order_by("id")
    usable = [
        package
        for package in await (packages.select_for_update() if lock else packages)
        if _is_for(package, course, at) and (of_membership or package_id in (None, package.id))
    ]
    if package_id is not None and not of_membership and not usable:
        raise Refusal(Code.PACKAGE_NOT_VALID, field=("packageId",))
    good_until = {package.id: package.valid_until for package in usable}
    if of_membership:
        good_until = await _good_until_membership_ends(course, usable)
        if not good_until:
            raise Refusal(Code.MEMBERSHIP_REQUIRED)
    held = await balances(list(good_until))
    return tuple(
        Lot(package.id, held[package.id], package.valid_until, good_until[package.id])
        for package in usable
        if package.id in good_until
    )


def _is_for(package: Package, course: Course, at: datetime) -> bool:
    return (
        package.valid_from <= at
        and (package.valid_until is None or at < package.valid_until)
        and package.class_type_id in (None, course.class_type_id)
        and package.course_id in (None, course.id)
    )


async def _good_until_membership_ends(course: Course, packages: Sequence[Package]) -> dict[UUID, datetime | None]:
    """Package -> the end of its standing membership: its credits pay for classes beyond their own period (R123)."""
    memberships = await Membership.filter(id__in=[package.membership_id for package in packages])
    centre = await Centre.known(id=course.centre_id)
    ends = {
        row.id: midnight(row.ends_on, ZoneInfo(centre.zone)) if row.ends_on else None
        for row in memberships
        if STANDING[row.status].enters
    }
    return {row.id: ends[row.membership_id] for row in packages if row.membership_id in ends}


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote as it was given to a student: what it was for, what it takes, and the instant it stops binding."""

    course_id: UUID
    user_id: UUID
    method: Method
    package_id: UUID | None
    terms: str
    until: datetime


class NotAsQuoted(Refusal):
    """The booking would not take what was quoted; `instead` is what it takes now, or why it cannot be."""

    def __init__(self, code: Code, instead: Quote | Refusal) -> None:
        """QUOTE_CHANGED or QUOTE_EXPIRED, and the present answer."""
        super().__init__(code, field=("quoteToken",))
        self.instead = instead


def agreed(
    held: Held, user_id: UUID, method: Method, package_id: UUID | None, at: datetime, quoted: Quoted | None
) -> Quote:
    """What booking takes now, and where there was a quote just what was quoted.

    Raises Refusal, NotAsQuoted, and INVALID_INPUT for a quote of something else.
    """
    if quoted is None:
        return held.quote(method, at)
    if (quoted.course_id, quoted.user_id, quoted.method, quoted.package_id) != (
        held.course.id,
        user_id,
        method,
        package_id,
    ):
        raise Refusal(Code.INVALID_INPUT, "It quotes another booking.", field=("quoteToken",))
    try:
        now: Quote | Refusal = held.quote(method, at)
    except Refusal as refusal:
        now = refusal
    if at >= quoted.until:
        raise NotAsQuoted(Code.QUOTE_EXPIRED, now)
    if isinstance(now, Refusal) or now.terms != quoted.terms:
        raise NotAsQuoted(Code.QUOTE_CHANGED, now)
    return now


@dataclass(frozen=True, slots=True)
class Asked:
    """What a quote or a booking is asked for: a course, for a student, paid in one way, from one package or any."""

    course_id: UUID
    user_id: UUID
    method: Method
    package_id: UUID | None = None


def keep(work: Unit, verb: str, asked: Asked, answer: Quote | Refusal) -> UUID:
    """Record what was answered, with the rules and figures that led to it -> the id it is explained by."""
    answer_id = new_id()
    if isinstance(answer, Refusal):
        after = asdict(asked) | {"code": answer.code, "message": answer.message}
        because: Sequence[Any] = answer.steps or (answer.because,)
        work.audit(f"refuse_{verb}", ("Course", asked.course_id), after=after, because=because)
    else:
        charge = answer.charge
        after = asdict(asked) | {"credits": answer.credits, "charge": charge.minor_units, "currency": charge.currency}
        work.audit(verb, ("Quote", answer_id), after=after, because=answer.because)
    return answer_id


async def quotes(
    course: Course, user_id: UUID, package_id: UUID | None, *, acting: str, at: datetime
) -> dict[Method, tuple[UUID, Quote | Refusal]]:
    """(course, student, package to draw from alone) -> for each way of paying the quote, or the no, and its id."""
    answers: dict[Method, tuple[UUID, Quote | Refusal]] = {}
    async with unit(acting=acting, at=at) as work:
        for method in Method:
            answer: Quote | Refusal
            try:
                answer = (await hold(course, user_id, method, package_id, at)).quote(method, at)
            except Refusal as refusal:
                answer = refusal
            answers[method] = keep(work, "quote", Asked(course.id, user_id, method, package_id), answer), answer
    return answers


async def keep_refusal(verb: str, asked: Asked, refusal: Refusal, *, acting: str, at: datetime) -> UUID:
    """Record why something was refused, after all of it was undone; what took the place of a quote, too."""
    key = once_under.set(None)  # what was refused changed nothing, so its caller's key stays free
    try:
        async with unit(acting=acting, at=at) as work:
            kept = keep(work, verb, asked, refusal)
            if isinstance(refusal, NotAsQuoted):
                kept = keep(work, "quote", asked, refusal.instead)
    finally:
        once_under.reset(key)
    return kept
