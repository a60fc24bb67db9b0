"""Quotes that bind, and why things are as they are: from the question to the rows and back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.actions import catalogue, courses, packages
from models.actions.vault import Vault
from models.rules.booking import Pricing
from models.rules.pricing import Frequency, OptionType
from models.rules.states import Provider
from models.tables.booking import Booking
from models.tables.course import ClassSession, Course
from models.tables.pricing import PricingOption
from models.tables.user import ExternalLink, User
from resolvers.reads.ids import encode
from tests.build import a_name

BY = "test"
HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)
QUOTES = """
query ($c: ID!, $u: ID!, $p: ID, $at: DateTime) {
  bookingQuotes(courseId: $c, userId: $u, packageId: $p, at: $at) {
    method refusal { code because }
    terms { id token validUntil perClassBasis sharedOver credits charge { amount }
            lines { settledBy packageId } because { rule } }
  }
}
"""
BOOK = """
mutation ($input: BookCourseInput!) {
  bookCourse(input: $input) {
    booking { id credits charge { amount } }
    quote { terms { token charge { amount } } refusal { code } }
    userErrors { code field }
  }
}
"""
EXPLAIN = """
query ($id: ID!) { explain(id: $id) { decided code subjectId outcome { name value } steps { rule text } } }
"""
WHY = """
query ($c: ID!, $u: ID!, $m: BookingMethod!) {
  whyNot(courseId: $c, userId: $u, method: $m) {
    refusal { code } steps { rule figures { name value } } earlier { decided code }
  }
}
"""


async def a_course(elapsed: int = 0, future: int = 8, price: int = 80_00) -> Course:
    """Weekly classes around this very moment, the clock the API goes by."""
    now = datetime.now(UTC)
    centre = await catalogue.create_centre(name=a_name("Pool"), zone="Europe/London", currency="GBP", acting=BY, at=now)
    option = await catalogue.create_pricing_option(
        name="Course", option_type=OptionType.STANDARD, frequency=Frequency.FIXED, amount=price, currency="GBP",
        acting=BY, at=now,
    )  # fmt: skip
    starts = [now + HOUR + (number - elapsed) * WEEK for number in range(elapsed + future)]
    return await courses.create_course(
        name="Lessons", centre_id=centre.id, pricing_option_id=option.id, pricing=Pricing.FULL_RATE, capacity=9,
        sessions=[(start, start + HOUR) for start in starts], acting=BY, at=now,
    )  # fmt: skip


@pytest.fixture
async def student(api: Any) -> User:
    """The member, with a card."""
    card = {"user_id": api.member.id, "provider": Provider.STRIPE, "kind": "payment_method"}
    await ExternalLink.get_or_create(**card, defaults={"external_id": "pm_1"})
    member: User = api.member
    return member


async def credits(user: User, course: Course, number: int) -> str:  # noqa: A001  # the field's word
    now = datetime.now(UTC)
    package = await packages.grant_package(
        user_id=user.id, name="Ten", granted=number, course_id=course.id, acting=BY, at=now
    )
    return encode("Package", package.id)


def asked(course: Course, user: User, **more: Any) -> dict[str, Any]:
    return {"courseId": encode("Course", course.id), "userId": encode("User", user.id), **more}


async def quoted(api: Any, course: Course, user: User, method: str, role: str = "MEMBER", **more: Any) -> Any:
    told = await api.ask(QUOTES, role, c=encode("Course", course.id), u=encode("User", user.id), **more)
    assert "errors" not in told, told
    (quote,) = [each for each in told["data"]["bookingQuotes"] if each["method"] == method]
    return quote


async def booked(api: Any, role: str = "MEMBER", **given: Any) -> Any:
    told = await api.ask(BOOK, role, input=given)
    assert "errors" not in told, told
    return told["data"]["bookCourse"]


async def test_a_quote_tells_its_basis_its_draw_and_how_long_it_holds(api: Any, student: User) -> None:
    course = await a_course(elapsed=2, future=6)
    package = await credits(student, course, 6)
    quote = await quoted(api, course, student, "PACKAGE_AND_CHARGE", p=package)
    terms = quote["terms"]
    assert (terms["perClassBasis"], terms["sharedOver"], terms["credits"], terms["charge"]["amount"]) == (
        "SCHEDULED",
        8,
        6,
        "20.00",
    )
    assert [line["packageId"] for line in terms["lines"]] == [None] * 2 + [package] * 6
    left = datetime.fromisoformat(terms["validUntil"]) - datetime.now(UTC)
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)
    refused = await quoted(api, course, student, "MEMBERSHIP")
    assert refused["terms"] is None
    assert refused["refusal"]["code"] == "MEMBERSHIP_REQUIRED"


async def test_a_quote_of_another_moment_binds_nobody(api: Any, student: User) -> None:
    at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    terms = (await quoted(api, await a_course(), student, "PAYMENT", at=at))["terms"]
    assert (terms["token"], terms["validUntil"], terms["charge"]["amount"]) == (None, None, "80.00")


async def test_what_was_quoted_is_booked(api: Any, student: User) -> None:
    course = await a_course(elapsed=2, future=6)
    terms = (await quoted(api, course, student, "PAYMENT"))["terms"]
    done = await booked(api, **asked(course, student, method="PAYMENT", quoteToken=terms["token"]))
    assert (done["userErrors"], done["quote"], done["booking"]["charge"]["amount"]) == ([], None, "80.00")


async def test_a_price_that_changed_is_refused_with_the_new_quote_which_can_be_booked(api: Any, student: User) -> None:
    course = await a_course()
    terms = (await quoted(api, course, student, "PAYMENT"))["terms"]
    await PricingOption.filter(id=course.pricing_option_id).update(amount=90_00)
    given = asked(course, student, method="PAYMENT")
    done = await booked(api, **given, quoteToken=terms["token"])
    assert done["userErrors"] == [{"code": "QUOTE_CHANGED", "field": ["quoteToken"]}]
    assert (done["booking"], done["quote"]["terms"]["charge"]["amount"]) == (None, "90.00")
    assert not await Booking.exists(course_id=course.id)
    done = await booked(api, **given, quoteToken=done["quote"]["terms"]["token"])
    assert done["booking"]["charge"]["amount"] == "90.00"


async def test_the_same_sum_for_other_classes_is_another_quote(api: Any, student: User) -> None:
    course = await a_course(future=4, price=40_00)
    terms = (await quoted(api, course, student, "PAYMENT"))["terms"]
    first = await ClassSession.filter(course_id=course.id).order_by("starts_at").first()
    assert first is not None
    again: dict[str, Any] = {"centre_id": first.centre_id, "starts_at": first.starts_at, "ends_at": first.ends_at}
    await ClassSession.create(course_id=course.id, **again)
    done = await booked(api, **asked(course, student, method="PAYMENT", quoteToken=terms["token"]))
    assert done["userErrors"][0]["code"] == "QUOTE_CHANGED"
    assert done["quote"]["terms"]["charge"]["amount"] == "40.00"


async def test_what_is_not_possible_any_more_is_told_instead_of_a_quote(api: Any, student: User) -> None:
    course = await a_course(future=2)
    await credits(student, course, 2)
    terms = (await quoted(api, course, student, "PACKAGE"))["terms"]
    await ClassSession.filter(course_id=course.id).update(starts_at=datetime.now(UTC) - HOUR, ends_at=datetime.now(UTC))
    done = await booked(api, **asked(course, student, method="PACKAGE", quoteToken=terms["token"]))
    assert done["userErrors"][0]["code"] == "QUOTE_CHANGED"
    assert done["quote"] == {"terms": None, "refusal": {"code": "NO_FUTURE_CLASSES"}}


async def test_a_quote_that_ended_is_refused_with_the_new_one(api: Any, student: User, secret_key: str) -> None:
    course = await a_course()
    terms = (await quoted(api, course, student, "PAYMENT"))["terms"]
    vault = Vault(secret_key)
    late = vault.open(terms["token"]) | {"until": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}
    given = asked(course, student, method="PAYMENT")
    done = await booked(api, **given, quoteToken=vault.seal(late))
    assert done["userErrors"] == [{"code": "QUOTE_EXPIRED", "field": ["quoteToken"]}]
    assert (await booked(api, **given, quoteToken=done["quote"]["terms"]["token"]))["userErrors"] == []


async def test_a_token_books_nothing_else(api: Any, student: User) -> None:
    course, other = await a_course(), await a_course()
    token = (await quoted(api, course, student, "PAYMENT"))["terms"]["token"]
    stranger = await User.create(first_name="Eve", last_name="E", email="eve@a.test", email_key="eve@a.test")
    for given in (
        asked(other, student, method="PAYMENT"),
        asked(course, stranger, method="PAYMENT"),
        asked(course, student, method="PACKAGE_AND_CHARGE"),
    ):
        done = await booked(api, "ADMIN", **given, quoteToken=token)
        assert done["userErrors"] == [{"code": "INVALID_INPUT", "field": ["quoteToken"]}]


async def test_a_booking_and_its_quote_explain_themselves(api: Any, student: User) -> None:
    course = await a_course(elapsed=2, future=6)
    await credits(student, course, 6)
    terms = (await quoted(api, course, student, "PACKAGE_AND_CHARGE"))["terms"]
    (quote,) = (await api.ask(EXPLAIN, "MEMBER", id=terms["id"]))["data"]["explain"]
    rules = ["D6", "D4", "R126", "R117", "0035"]
    assert (quote["decided"], [step["rule"] for step in quote["steps"]]) == ("quote", rules)
    given = asked(course, student, method="PACKAGE_AND_CHARGE", quoteToken=terms["token"])
    booking = (await booked(api, **given))["booking"]
    decisions = (await api.ask(EXPLAIN, "MEMBER", id=booking["id"]))["data"]["explain"]
    assert [(each["decided"], [step["rule"] for step in each["steps"]]) for each in decisions] == [
        ("book_course", rules),
        ("charge_booking", rules),
    ]
    assert {"name": "charge", "value": "2000"} in decisions[0]["outcome"]


async def test_nobody_is_told_why_of_what_they_may_not_see(api: Any, student: User) -> None:
    course = await a_course()
    stranger = await User.create(first_name="Ben", last_name="B", email="ben@a.test", email_key="ben@a.test")
    terms = (await quoted(api, course, stranger, "PAYMENT", "ADMIN"))["terms"]
    unknown = encode("Booking", course.id)
    for given in (terms["id"], unknown, encode("Quote", course.id), encode("AuditEntry", course.id)):
        assert (await api.ask(EXPLAIN, "MEMBER", id=given))["data"]["explain"] is None
    assert (await api.ask(EXPLAIN, "FRONT_DESK", id=terms["id"]))["data"]["explain"] is not None
    told = await api.ask(WHY, "MEMBER", c=encode("Course", course.id), u=encode("User", stranger.id), m="PAYMENT")
    assert told["data"]["whyNot"] is None


async def test_why_not_answers_for_now_and_remembers(api: Any, student: User) -> None:
    course = await a_course(elapsed=2, future=6)
    words = {"c": encode("Course", course.id), "u": encode("User", student.id), "m": "PACKAGE"}
    done = await booked(api, **asked(course, student, method="PACKAGE"))
    assert done["userErrors"][0]["code"] == "PACKAGE_CANNOT_COVER_ELAPSED"
    told = (await api.ask(WHY, "MEMBER", **words))["data"]["whyNot"]
    assert told["refusal"]["code"] == "PACKAGE_CANNOT_COVER_ELAPSED"
    assert [step["rule"] for step in told["steps"]] == ["D6", "D4", "R131"]
    assert told["earlier"] == [{"decided": "refuse_book_course", "code": "PACKAGE_CANNOT_COVER_ELAPSED"}]
    await Course.filter(id=course.id).update(package_joins_late=True)
    await credits(student, course, 6)
    told = (await api.ask(WHY, "MEMBER", **words))["data"]["whyNot"]
    assert (told["refusal"], told["steps"][-1]["rule"], len(told["earlier"])) == (None, "0035", 1)


async def test_why_not_sees_what_a_price_does_not(api: Any, student: User) -> None:
    course = await a_course()
    await Course.filter(id=course.id).update(capacity=1)
    other = await User.create(first_name="Cy", last_name="C", email="cy@a.test", email_key="cy@a.test")
    terms: dict[str, Any] = {"method": "PAYMENT", "status": "CONFIRMED", "credits": 0, "charge": 0, "currency": "GBP"}
    await Booking.create(course_id=course.id, user_id=other.id, **terms)
    words = {"c": encode("Course", course.id), "u": encode("User", student.id), "m": "PAYMENT"}
    assert (await api.ask(WHY, "MEMBER", **words))["data"]["whyNot"]["refusal"]["code"] == "COURSE_FULL"
    words["u"] = encode("User", other.id)
    assert (await api.ask(WHY, "ADMIN", **words))["data"]["whyNot"]["refusal"]["code"] == "ALREADY_BOOKED"
