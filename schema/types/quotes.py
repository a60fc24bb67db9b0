"""What something would cost."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from models.actions.quotes import Asked
from models.rules import booking, explain
from models.rules import money as rules
from models.rules.booking import Basis, Method, SettledBy
from models.rules.pricing import Level
from models.rules.refusals import Refusal
from models.rules.timetable import ClassState
from resolvers.context import Context, Info
from resolvers.quotes import price_of, quotes, sealed
from resolvers.reads.ids import encode, known
from schema.payloads import UserError, user_error
from schema.scalars import BigInt, CurrencyCode, Decimal
from schema.types.shared import Money, NamedValue, Step


@strawberry.type(description="A price at a place on a day.")
class PriceAt:
    """A price and where it was found."""

    price: Money = strawberry.field(description="What it costs.")
    level: Level = strawberry.field(description="Where that price was found.")


@strawberry.type(description="One class of a quote.")
class QuoteLine:
    """A class's share and what settles it."""

    session_id: strawberry.ID = strawberry.field(description="The id of the class session.")
    state: ClassState = strawberry.field(description="How the class stands at that moment.")
    share: Money = strawberry.field(description="Its share of the price.")
    settled_by: SettledBy = strawberry.field(description="What pays for it.")
    package_id: strawberry.ID | None = strawberry.field(description="The id of the package its credit comes from.")
    because: str = strawberry.field(description="The rule that says so.")


@strawberry.type(description="What booking a course takes.")
class QuoteTerms:
    """Credits and a charge, class by class."""

    id: strawberry.ID = strawberry.field(description="What `explain` knows this quote by.")
    token: str | None = strawberry.field(
        description="Given to `bookCourse`, just this is taken or nothing; null for another moment than now."
    )
    valid_until: datetime | None = strawberry.field(description="From when on the token no longer binds.")
    per_class_basis: Basis = strawberry.field(description="Which classes the price is shared over, a course's setting.")
    shared_over: int = strawberry.field(description="Over how many classes that is.")
    credits: int = strawberry.field(description="How many credits it draws.")
    charge: Money = strawberry.field(description="What is charged beside them: the sum of the lines settled by money.")
    lines: list[QuoteLine] = strawberry.field(description="Class by class.")
    because: list[Step] = strawberry.field(description="How it came about.")


@strawberry.type(description="What one way of paying for a course takes, or why it cannot be.")
class BookingQuote:
    """Exactly one of `terms` and `refusal` is given."""

    method: Method = strawberry.field(description="The way of paying.")
    terms: QuoteTerms | None = strawberry.field(description="What it takes; null where it is refused.")
    refusal: UserError | None = strawberry.field(description="Why it cannot be; null where it can.")


def told_money(amount: rules.Money) -> Money:
    """An amount of the rules -> as GraphQL tells it."""
    return Money(
        amount=Decimal(amount.decimal_text()),
        minor_units=BigInt(amount.minor_units),
        currency=CurrencyCode(amount.currency),
    )


def told_step(step: explain.Step) -> Step:
    """A step of the rules -> as GraphQL tells it."""
    figures = [NamedValue(name=name, value=str(value)) for name, value in step.figures.items()]
    return Step(rule=step.rule, text=step.text, figures=figures)


def told_quote(
    context: Context, asked: Asked, answer_id: UUID, answer: booking.Quote | Refusal, *, binding: bool = True
) -> BookingQuote:
    """A quote of the rules, or their refusal, kept under an id -> as GraphQL tells it; `binding` gives it a token."""
    if isinstance(answer, Refusal):
        return BookingQuote(method=asked.method, terms=None, refusal=user_error(answer))
    token, until = sealed(context, asked, answer) if binding else (None, None)
    terms = QuoteTerms(
        id=strawberry.ID(encode("Quote", answer_id)),
        token=token,
        valid_until=until,
        per_class_basis=answer.basis,
        shared_over=answer.shared_over,
        credits=answer.credits,
        charge=told_money(answer.charge),
        lines=[_told_line(line, answer.charge.currency) for line in answer.lines],
        because=[told_step(each) for each in answer.because],
    )
    return BookingQuote(method=asked.method, terms=terms, refusal=None)


def _told_line(line: booking.Line, currency: str) -> QuoteLine:
    return QuoteLine(
        session_id=strawberry.ID(encode("ClassSession", line.session_id)),
        state=line.state,
        share=told_money(rules.Money(line.share, currency)),
        settled_by=line.settled_by,
        package_id=strawberry.ID(encode("Package", line.package_id)) if line.package_id else None,
        because=line.because,
    )


def _asks(description: str) -> Any:
    return strawberry.argument(description=description)


async def price_at(
    pricing_option_id: Annotated[strawberry.ID, _asks("The id of the pricing option.")],
    centre_id: Annotated[strawberry.ID, _asks("The id of the centre.")],
    on: Annotated[date, _asks("The day.")],
) -> PriceAt | None:
    """(option, centre, day) -> the price and its level, None where either is unknown. Raises BadInput."""
    option, centre = known("PricingOption")(pricing_option_id), known("Centre")(centre_id)
    found = await price_of(option, centre, on) if option and centre else None
    return PriceAt(price=told_money(found[0]), level=found[1]) if found else None


async def booking_quotes(
    info: Info,
    course_id: Annotated[strawberry.ID, _asks("The id of the course.")],
    user_id: Annotated[strawberry.ID, _asks("The id of the student.")],
    package_id: Annotated[strawberry.ID | None, _asks("The package to draw from; any, if left out.")] = None,
    at: Annotated[datetime | None, _asks("The moment; now by default, and only then with tokens.")] = None,
) -> list[BookingQuote] | None:
    """(course, student, package, instant) -> a quote for each way of paying, None where unknown. Raises BadInput."""
    course, user = known("Course")(course_id), known("User")(user_id)
    package = known("Package")(package_id) if package_id is not None else None
    if course is None or user is None or (package_id is not None and package is None):
        return None
    answers = await quotes(info.context, course, user, package, at)
    if answers is None:
        return None
    return [
        told_quote(info.context, Asked(course, user, method, package), *kept, binding=at is None)
        for method, kept in answers.items()
    ]
