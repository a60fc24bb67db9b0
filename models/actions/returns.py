"""What a booking gives back: credits by reversing entries, money by refunds of what was received for it."""

from models.actions import asking, ledger
from models.actions.refunds import refund, refundable
from models.actions.unit import Unit
from models.rules.booking import SettledBy
from models.rules.returns import Kept, Return
from models.tables.booking import Booking, BookingLine
from models.tables.package import CreditEntry
from models.tables.payment import Payment

PAID = (SettledBy.CREDIT, SettledBy.CHARGE)


async def kept(booking: Booking) -> list[Kept]:
    """The classes of a booking whose credit or share was not given back yet."""
    lines = BookingLine.filter(booking_id=booking.id, given_back_at=None, settled_by__in=PAID)
    return [as_kept(line) for line in await lines.select_related("class_session").order_by("class_session__starts_at")]


def as_kept(line: BookingLine) -> Kept:
    """A line with its class session loaded -> as the rules take it."""
    session = line.class_session
    return Kept(session.id, session.starts_at, session.deleted_at is not None, line.share, line.settled_by)


async def give_back(work: Unit, booking: Booking, given: Return, *, reason: str) -> None:
    """Mark the classes of a locked booking as given back and return their credits, once; `repay` returns the money."""
    lines = BookingLine.filter(booking_id=booking.id, given_back_at=None, class_session_id__in=given.sessions)
    await lines.update(given_back_at=work.at)
    drawn = CreditEntry.filter(booking_id=booking.id, reverses_id=None, reversal__id__isnull=True)
    await CreditEntry.bulk_create(
        CreditEntry(
            package_id=entry.package_id,
            booking_id=booking.id,
            class_session_id=entry.class_session_id,
            reverses_id=entry.id,
            delta=-entry.delta,
            reason=reason,
        )
        for entry in await drawn.filter(class_session_id__in=given.sessions).order_by("id")
    )


async def repay(work: Unit, booking: Booking) -> None:
    """Refund what a booking gave back, as far as it was received and no later booking lives on it; the books follow.

    Money it took over from the booking it was moved from goes back first, by that one's payment; so the sum does not
    depend on when its own payment arrives.
    """
    while later := await Booking.one(moved_from_id=booking.id):
        booking = later  # money may come in again for one that was moved: the newest says what of it is still needed
    claim = await money_given_back(booking)
    while True:
        carried = min(claim, booking.carried)
        payment = await Payment.one(booking_id=booking.id)
        if payment is not None:
            await _refund(work, payment, claim - carried)
            await ledger.respread(work, await asking.locked(payment.id))
        if booking.moved_from_id is None:
            return
        before = await Booking.known(id=booking.moved_from_id)
        claim = await money_given_back(before) - booking.carried + carried
        booking = before


async def _refund(work: Unit, payment: Payment, all_in_all: int) -> None:
    """Refund so much that a payment has given back `all_in_all` minor units, as far as it was received."""
    left = await refundable(payment.id)
    amount = min(left, all_in_all - (payment.amount - left))
    if amount > 0:
        await refund(work, payment.id, amount, reason=f"booking {payment.booking_id}")


async def money_given_back(booking: Booking) -> int:
    """The money of the classes a booking gave back, minor units."""
    lines = BookingLine.filter(booking_id=booking.id, settled_by=SettledBy.CHARGE, given_back_at__isnull=False)
    return sum(await lines.values_list("share", flat=True))  # type: ignore[arg-type]  # flat
