"""People on both sides: who is whom, who decides it, and what a stranger learns of it (CoursePro, E; R50-R56, R62)."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest

from models.actions import arrivals, claims, links, memberships, reviews, user_fields, users
from models.actions.arrivals import Arrival
from models.actions.unit import unit
from models.rules.lifecycle import Cause
from models.rules.refusals import Code, Refusal
from models.rules.states import LinkState, MandateStatus, Provider, ReviewKind, ReviewState, UserState
from models.tables.coursepro import Drift, RecordClaim, ReviewItem, UserSync
from models.tables.membership import Membership
from models.tables.notification import Notification
from models.tables.user import ExternalLink, User, UserField
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    a_centre,
    a_fee,
    a_mandate,
    a_membership,
    a_membership_type,
    a_name,
    a_user,
    happening,
    nothing_written,
    refused,
)

pytestmark = pytest.mark.usefixtures("database")
LINKED, PROVISIONAL, UNLINKED = LinkState.LINKED, LinkState.PROVISIONAL, LinkState.UNLINKED
CARD, NO_CARD, IBAN = "4242 4242 4242 4242", "4242424242424243", "GB82 WEST 1234 5698 7654 32"
CLAIM_URL = "https://club.example/claim#"


@pytest.fixture
async def configured() -> AsyncIterator[None]:
    """Gender is collected, and everybody has to name a school."""
    await user_fields.set_user_field(name="gender", label="Gender", required=False, acting=BY, at=NOW)
    await user_fields.set_user_field(name="school", label="School", required=True, acting=BY, at=NOW)
    yield
    await UserField.all().delete()


def fresh() -> str:
    """An address, or an id, nobody has yet."""
    return a_name("somebody").replace(" ", "")


def details(**changed: Any) -> dict[str, Any]:
    """What CoursePro may tell of Ann, with an address of her own."""
    given = {
        "first_name": "Ann",
        "last_name": "O'Brien",
        "email": f"{fresh()}@example.com",
        "date_of_birth": "2016-05-04",
    }
    return {name: value for name, value in {**given, **changed}.items() if value is not ...}


async def arrive(coursepro_id: str, fields: dict[str, Any], event_id: str = "ev") -> Arrival:
    return await arrivals.user_arrived(coursepro_id=coursepro_id, fields=fields, acting=BY, at=NOW, event_id=event_id)


async def written_down(given: dict[str, Any]) -> User:
    """The same person, put in here first."""
    born = date.fromisoformat(given["date_of_birth"])
    return await users.create_user(**{**given, "date_of_birth": born}, acting=BY, at=NOW)


async def link_of(coursepro_id: str) -> tuple[Any, LinkState]:
    link = await ExternalLink.get(external_id=coursepro_id)
    return link.user_id, link.state


async def a_purchase(user: User) -> Membership:
    """A CoursePro membership that waits for its direct debit."""
    kind, option = await a_membership_type()
    mandate = await a_mandate(user, MandateStatus.PENDING)
    terms: dict[str, Any] = {"membership_type_id": kind.id, "pricing_option_id": option.id, "mandate_id": mandate.id}
    centre = await a_centre()
    return await memberships.start_membership(
        user_id=user.id, centre_id=centre.id, starts_on=NOW.date(), **terms, acting=BY, at=NOW
    )


# -- born there --------------------------------------------------------------------------------------------------------


async def test_somebody_new_is_provisional_until_the_first_purchase_makes_them_sure() -> None:
    given = details()
    async with happening() as seen:
        arrival = await arrive("cp_new", given)
    user = await User.get(id=arrival.user_id)
    assert (user.first_name, user.email, user.date_of_birth) == ("Ann", given["email"], date(2016, 5, 4))
    assert (user.state, user.version) == (UserState.PROVISIONAL, 1)
    assert await link_of("cp_new") == (user.id, PROVISIONAL)
    assert (await UserSync.get(user_id=user.id)).told == given
    assert (seen.verbs, seen.kinds) == (["user_arrived", "link_record"], [])

    held = await a_purchase(user)
    assert (await link_of("cp_new"))[1] is PROVISIONAL
    async with happening() as seen, unit(acting=BY, at=NOW) as work:
        await memberships.move(work, await memberships.locked(held.id), Cause.MANDATE_READY)
    assert await link_of("cp_new") == (user.id, LINKED)
    await user.refresh_from_db()
    assert (user.state, user.version) == (UserState.ACTIVE, 2)
    assert seen.verbs == ["move_membership", "user_made_active", "link_made_sure"]
    assert seen.kinds.count("courses.push_user") == 1


async def test_a_membership_that_ends_before_it_began_is_no_purchase() -> None:
    user = await User.get(id=(await arrive("cp_never", details())).user_id)
    held = await a_purchase(user)
    await memberships.by_staff(held.id, Cause.CANCELLED_BY_STAFF, acting=BY, at=NOW)
    assert (await User.get(id=user.id)).state is UserState.PROVISIONAL
    assert (await link_of("cp_never"))[1] is PROVISIONAL


async def test_a_known_person_is_matched_silently_and_ours_stay_as_they_are() -> None:
    given = details(phone="020 7946 0000")
    user = await written_down(details(email=given["email"].upper(), phone="020 7946 0999", date_of_birth="2016-05-04"))
    async with happening() as seen:
        arrival = await arrive("cp_match", given)
    assert arrival == Arrival(user.id)
    assert await link_of("cp_match") == (user.id, PROVISIONAL)
    link = await ExternalLink.get(external_id="cp_match")
    assert link.evidence == {"email": True, "last_name": True, "date_of_birth": True, "first_name": True}
    assert (await User.get(id=user.id)).phone == "020 7946 0999"
    # what they hold is remembered: at the purchase they are told what differs
    assert (await UserSync.get(user_id=user.id)).told["phone"] == "020 7946 0000"
    assert (seen.verbs, seen.kinds, await Notification.filter(user_id=user.id).count()) == (["link_record"], [], 0)


async def test_a_known_buyer_is_sure_at_once() -> None:
    given = details()
    user = await written_down(given)
    held = await a_purchase(user)
    async with unit(acting=BY, at=NOW) as work:
        await memberships.move(work, await memberships.locked(held.id), Cause.MANDATE_READY)
    await arrive("cp_buyer", given)
    assert await link_of("cp_buyer") == (user.id, LINKED)


async def test_twins_of_one_address_are_told_apart_or_left_to_a_person_who_is_asked_once() -> None:
    ann = details()
    ben = {**ann, "first_name": "Ben"}
    twins = [await written_down(ann), await written_down(ben)]
    assert (await arrive("cp_ben", ben)).user_id == twins[1].id

    third = await arrive("cp_cleo", {**ann, "first_name": "Cleo"})
    assert third.user_id not in (None, twins[0].id, twins[1].id)

    await written_down({**ann, "phone": "1"})  # the same person twice
    people = await User.all().count()
    for event in ("ev-1", "ev-2"):
        assert await arrive("cp_ann", ann, event) == Arrival(None)
    (asked,) = await ReviewItem.filter(subject="cp_ann")
    assert (asked.kind, asked.state, len(asked.evidence["candidates"])) == (ReviewKind.USER_MATCH, ReviewState.OPEN, 2)
    assert asked.evidence["given"] == ann
    assert await User.all().count() == people
    assert await links.of_record("cp_ann") is None

    other = await a_user()
    async with refused(Code.NOT_FOUND, "userId"):
        await reviews.settle_review(asked.id, user_id=other.id, acting=BY, at=NOW)
    settled = await reviews.settle_review(asked.id, user_id=twins[0].id, acting=BY, at=NOW)
    assert (settled.state, settled.user_id, settled.answer) == (ReviewState.SETTLED, twins[0].id, str(twins[0].id))
    assert await link_of("cp_ann") == (twins[0].id, PROVISIONAL)
    assert (await ExternalLink.get(external_id="cp_ann")).evidence["decided_by"] == BY
    async with refused(Code.ILLEGAL_MOVE, "reviewItemId"):
        await reviews.settle_review(asked.id, acting=BY, at=NOW)
    assert (await arrive("cp_ann", ann)).user_id == twins[0].id


async def test_a_person_may_decide_that_it_is_somebody_new() -> None:
    ann = details()
    await written_down(ann)
    await written_down(ann)
    await arrive("cp_other_ann", ann)
    asked = await ReviewItem.get(subject="cp_other_ann")
    settled = await reviews.settle_review(asked.id, acting=BY, at=NOW)
    user = await User.get(id=settled.user_id)
    assert (user.state, user.email) == (UserState.PROVISIONAL, ann["email"])
    assert await link_of("cp_other_ann") == (user.id, PROVISIONAL)


async def test_what_becomes_of_money_is_answered_in_words() -> None:
    about: dict[str, Any] = {"kind": ReviewKind.REFUND_REVIEW, "provider": Provider.GOCARDLESS}
    fee = await a_fee(await a_membership())
    asked = await ReviewItem.create(**about, subject=str(fee.id), evidence={"amount": 3500})
    async with refused(Code.INVALID_INPUT, "answer"):
        await reviews.settle_review(asked.id, acting=BY, at=NOW)
    settled = await reviews.settle_review(asked.id, answer="Given back in cash", acting=BY, at=NOW)
    assert (settled.state, settled.answer) == (ReviewState.SETTLED, "Given back in cash")


async def test_a_tie_that_was_undone_is_not_made_again_by_a_machine() -> None:
    given = details()
    user = await written_down(given)
    await arrive("cp_wrong", given)
    link = await ExternalLink.get(external_id="cp_wrong")
    undone = await links.unlink_user(link.id, reason="It is her cousin.", acting="key:desk", at=NOW)
    assert undone.state is UNLINKED
    assert undone.evidence == {
        "email": True,
        "last_name": True,
        "date_of_birth": True,
        "first_name": True,
        "undone": "It is her cousin.",
        "undone_by": "key:desk",
        "undone_at": "2026-03-02T10:00:00+00:00",
    }
    assert not await UserSync.exists(user_id=user.id)
    async with nothing_written():
        await links.unlink_user(link.id, reason="Again.", acting=BY, at=NOW)
    assert await arrive("cp_wrong", given) == Arrival(None)
    assert (await ReviewItem.get(subject="cp_wrong")).evidence["candidates"] == [str(user.id)]
    # nor is a person with one record given another
    assert (await arrive("cp_right", given)).user_id == user.id
    assert await arrive("cp_double", given) == Arrival(None)


async def test_of_a_known_record_what_is_equal_or_old_is_an_echo_and_the_rest_is_drift() -> None:
    given = details(phone="020 7946 0000")
    user_id = (await arrive("cp_echo", given)).user_id
    assert user_id
    await users.update_user(user_id, phone="020 7946 0999", acting=BY, at=NOW)
    async with nothing_written():
        assert await arrive("cp_echo", {**given, "email": given["email"].upper()}) == Arrival(user_id)  # told before
        assert await arrive("cp_echo", {"phone": "020 7946 0999"}) == Arrival(user_id)
    async with happening() as seen:
        for event in ("ev-1", "ev-2"):
            await arrive("cp_echo", {"phone": "07700 900000", "last_name": "O'Brien"}, event)
    (drift,) = await Drift.filter(subject_id=user_id)
    assert (drift.field, drift.ours, drift.theirs) == ("phone", "020 7946 0999", "07700 900000")
    assert drift.cause == "users ev-1"
    user = await User.get(id=user_id)
    assert (user.phone, user.version, seen.kinds, seen.verbs) == ("020 7946 0999", 2, [], [])


async def test_two_calls_at_once_make_one_person() -> None:
    given = details()
    first, second, third = await asyncio.gather(arrive("cp_a", given), arrive("cp_a", given), arrive("cp_b", given))
    assert first.user_id == second.user_id
    assert await User.filter(email=given["email"]).count() == 1
    # one of the two records came first; whose the other is, a person decides
    assert {first.user_id, third.user_id} == {None, (await User.get(email=given["email"])).id}


# -- what may come in --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("configured")
async def test_what_nobody_collects_is_dropped_and_what_is_required_has_to_be_there() -> None:
    given = details(school="Hill Street", gender="f", shoe_size=9, Nickname="Annie")
    arrival = await arrive("cp_fields", given)
    assert arrival.dropped == ("Nickname", "shoe_size")
    user = await User.get(id=arrival.user_id)
    assert user.fields_ == {"school": "Hill Street", "gender": "f"}
    async with refused(Code.INVALID_INPUT, "fields", "school"):
        await arrive("cp_schoolless", details())
    assert (await arrive("cp_fields", {"phone": "020"})).dropped == ()  # of a known record not all has to be told


@pytest.mark.parametrize(
    ("changed", "code", "path"),
    [
        ({"first_name": ...}, Code.INVALID_INPUT, ("fields", "firstName")),
        ({"last_name": "  "}, Code.INVALID_INPUT, ("fields", "lastName")),
        ({"email": "nobody"}, Code.INVALID_INPUT, ("fields", "email")),
        ({"email": ["a@b.test"]}, Code.INVALID_INPUT, ("fields", "email")),
        ({"phone": "0" * 26}, Code.INVALID_INPUT, ("fields", "phone")),
        ({"first_name": "A\0"}, Code.INVALID_INPUT, ("fields", "firstName")),
        ({"date_of_birth": "4 May 2016"}, Code.INVALID_INPUT, ("fields", "dateOfBirth")),
        ({"date_of_birth": "2026-03-03"}, Code.INVALID_INPUT, ("fields", "dateOfBirth")),
        ({"account_number": "12345678"}, Code.BILLING_DETAILS_REFUSED, ("fields", "account_number")),
        ({"Sort-Code": "12-34-56"}, Code.BILLING_DETAILS_REFUSED, ("fields", "Sort-Code")),
        ({"bank": {"iban": "x"}}, Code.BILLING_DETAILS_REFUSED, ("fields", "bank")),
        ({"note": f"card {CARD} please"}, Code.BILLING_DETAILS_REFUSED, ("fields", "note")),
        ({"notes": ["", {"text": IBAN}]}, Code.BILLING_DETAILS_REFUSED, ("fields", "notes", "1", "text")),
        ({CARD: "mine"}, Code.BILLING_DETAILS_REFUSED, ("fields",)),
        ({"number": 4242424242424242}, Code.BILLING_DETAILS_REFUSED, ("fields", "number")),
    ],
    ids=range(15),
)
async def test_bad_values_and_billing_details_are_refused_and_nothing_of_them_is_kept(
    changed: dict[str, Any], code: Code, path: tuple[str, ...]
) -> None:
    async with refused(code, *path):
        await arrive("cp_bad", details(**changed))
    with pytest.raises(Refusal) as caught:
        await arrive("cp_bad", details(**changed))
    assert "4242" not in f"{caught.value} {caught.value.field}"


async def test_long_numbers_that_are_no_card_are_taken() -> None:
    arrival = await arrive("cp_numbers", details(phone="+49 1512 3456 7890", note=NO_CARD, at="2026-03-02 10:00"))
    assert arrival.dropped == ("at", "note")


async def test_nobody_writes_a_card_into_a_record_here_either() -> None:
    user = await a_user()
    async with refused(Code.BILLING_DETAILS_REFUSED, "lastName"):
        await users.update_user(user.id, last_name=CARD, acting=BY, at=NOW)
    async with refused(Code.BILLING_DETAILS_REFUSED, "name"):
        await user_fields.set_user_field(name="iban", label="IBAN", required=False, acting=BY, at=NOW)


# -- fields ------------------------------------------------------------------------------------------------------------


async def test_each_change_of_the_set_of_fields_raises_its_version() -> None:
    await UserField.all().delete()
    start = (await user_fields.configured()).version
    for step, (label, required) in enumerate((("Gender", False), ("Gender", True), ("Sex", True)), 1):
        async with happening() as seen:
            row = await user_fields.set_user_field(name="gender", label=label, required=required, acting=BY, at=NOW)
        assert (row.version, seen.kinds, seen.verbs) == (start + step, ["courses.push_fields"], ["set_user_field"])
    async with nothing_written():
        await user_fields.set_user_field(name="gender", label="Sex", required=True, acting=BY, at=NOW)
    await user_fields.set_user_field(name="school", label="School", required=False, acting=BY, at=NOW)
    assert {row.version for row in await UserField.all()} == {start + 4}
    await user_fields.remove_user_field("gender", acting=BY, at=NOW)
    await user_fields.remove_user_field("school", acting=BY, at=NOW)
    now = await user_fields.configured()
    assert (now.version, now.configured) == (start + 6, ())  # an empty set has its version too
    async with refused(Code.NOT_FOUND, "name"):
        await user_fields.remove_user_field("gender", acting=BY, at=NOW)
    for name in ("email", "user_id", "Shoe size", "", "x" * 41):
        async with refused(Code.INVALID_INPUT, "name"):
            await user_fields.set_user_field(name=name, label="L", required=False, acting=BY, at=NOW)


@pytest.mark.usefixtures("configured")
async def test_a_change_of_a_person_counts_once_and_only_where_something_changed() -> None:
    fields = {"school": "Hill Street"}
    user = await users.create_user(
        first_name="Ann", last_name="Lee", email="Ann@lee.test", fields=fields, acting=BY, at=NOW
    )
    async with nothing_written():
        await users.update_user(user.id, first_name=" Ann ", fields=fields, acting=BY, at=NOW)
    async with happening() as seen:
        changed = await users.update_user(
            user.id, email="ann@LEE.test", fields={"school": "Park Road", "gender": ""}, acting=BY, at=NOW
        )
    assert (changed.version, changed.email, changed.email_key) == (2, "ann@LEE.test", "ann@lee.test")
    assert changed.fields_ == {"school": "Park Road"}
    assert [(job.kind, job.subject) for job in seen.jobs] == [("courses.push_user", f"courses.push_user:{user.id}")]
    (entry,) = seen.audit
    assert (entry.before, entry.after) == ({"version": 1}, {"fields": ["email", "school"], "version": 2})
    for path, change in (
        (("fields", "school"), {"fields": {"school": ""}}),
        (("fields", "shoe"), {"fields": {"shoe": "9"}}),
        (("firstName",), {"first_name": " "}),
    ):
        async with refused(Code.INVALID_INPUT, *path):
            await users.update_user(user.id, **change, acting=BY, at=NOW)


# -- born here ---------------------------------------------------------------------------------------------------------


async def test_the_record_made_by_a_cart_is_sure_and_one_tied_otherwise_stays() -> None:
    user, other = await a_user(), await a_user()
    assert await links.of_user(user.id) is None
    link = await links.linked_by_purchase(
        user.id, "cp_cart", told={"first_name": "Ada", "iban": "x"}, acting=BY, at=NOW
    )
    assert link is not None
    assert await link_of("cp_cart") == (user.id, LINKED)
    assert (await UserSync.get(user_id=user.id)).told == {"first_name": "Ada"}
    again = await links.linked_by_purchase(user.id, "cp_cart", told={"email": user.email}, acting=BY, at=NOW)
    assert again is not None
    assert (await UserSync.get(user_id=user.id)).told == {"first_name": "Ada", "email": user.email}
    for whom, record in ((user, "cp_cart_2"), (other, "cp_cart")):
        assert await links.linked_by_purchase(whom.id, record, acting=BY, at=NOW) is None
    drifts = await Drift.filter(subject_id__in=[user.id, other.id]).order_by("id")
    assert [(drift.ours, drift.theirs) for drift in drifts] == [("cp_cart", "cp_cart_2"), (None, "cp_cart")]
    assert await link_of("cp_cart") == (user.id, LINKED)


async def test_a_record_known_by_our_id_alone_is_sure_and_learns_its_own() -> None:
    given = details()
    user = await written_down(given)
    for _ in range(2):
        link = await links.linked_by_purchase(user.id, told={"first_name": "Ann"}, acting=BY, at=NOW)
        assert link is not None
        assert (link.external_id, link.state) == (str(user.id), LINKED)
    assert (await arrive("cp_learned", given)).user_id == user.id
    assert await link_of("cp_learned") == (user.id, LINKED)
    assert (await UserSync.get(user_id=user.id)).told == {"first_name": "Ann"}
    again = await links.linked_by_purchase(user.id, acting=BY, at=NOW)
    assert again is not None
    assert again.external_id == "cp_learned"


# -- signing up --------------------------------------------------------------------------------------------------------


async def sign_up(given: dict[str, Any], caller: str = "key:web", at: Any = NOW) -> User:
    born = date.fromisoformat(given["date_of_birth"]) if "date_of_birth" in given else None
    return await claims.sign_up(**{**given, "date_of_birth": born}, claim_url=CLAIM_URL, acting=caller, at=at)


async def test_somebody_new_signs_up_and_is_one_like_any_other() -> None:
    given = details()
    user = await sign_up(given)
    assert (user.state, user.version) == (UserState.ACTIVE, 1)
    sibling = await sign_up({**given, "first_name": "Ben"})
    assert sibling.id != user.id


async def test_a_known_person_is_written_to_and_claims_the_record_once() -> None:
    given = details()
    user_id = (await arrive("cp_claim", given)).user_id
    assert user_id
    people = await User.all().count()
    async with happening() as seen:
        with pytest.raises(Refusal) as caught:
            await sign_up(given)
    assert (caught.value.code, caught.value.field, caught.value.steps) == (Code.RECORD_ALREADY_EXISTS, (), ())
    assert (seen.kinds, seen.verbs) == (["notifications.claim_record"], ["sign_up_met_known"])
    assert (seen.jobs[0].payload["user_ids"], seen.jobs[0].user_id) == ([str(user_id)], None)
    assert await User.all().count() == people

    offered = await claims.offer_claim(user_id, claim_url=CLAIM_URL, cause="one", acting=BY, at=NOW)
    assert offered is not None
    message, reader = offered
    assert (message.kind, reader.email) == ("CLAIM_RECORD", given["email"])
    found = re.search(r"https://club\.example/claim#([\w-]{43}) ", message.text)
    assert found
    (claim,) = await RecordClaim.filter(user_id=user_id)
    assert (claim.expires_at, found[1] in claim.token_hash) == (NOW + DAY, False)
    assert await claims.offer_claim(user_id, claim_url=CLAIM_URL, cause="one", acting=BY, at=NOW) == offered
    await claims.link_sent(message, at=NOW)
    stored = await Notification.get(id=message.id)
    assert stored.sent_at == NOW
    assert found[1] not in stored.text
    assert await claims.offer_claim(user_id, claim_url=CLAIM_URL, cause="one", acting=BY, at=NOW) is None

    for token, at in (("x", NOW), (found[1], NOW + DAY), (claim.token_hash, NOW)):
        async with refused(Code.NOT_FOUND, "token"):
            await claims.claim_record(token, acting=BY, at=at)
    claimed = await claims.claim_record(found[1], acting=BY, at=NOW + DAY - timedelta(seconds=1))
    assert (claimed.id, claimed.state, claimed.version) == (user_id, UserState.ACTIVE, 2)
    assert await link_of("cp_claim") == (user_id, PROVISIONAL)
    async with refused(Code.NOT_FOUND, "token"):
        await claims.claim_record(found[1], acting=BY, at=NOW)


async def test_one_or_several_known_people_look_the_same_to_who_signs_up() -> None:
    one, several = details(), details()
    for given in (one, several, several):
        await written_down(given)
    told = []
    for given in (one, several):
        async with happening() as seen:
            with pytest.raises(Refusal) as caught:
                await sign_up(given, "key:same")
        told.append((str(caught.value), caught.value.field, seen.kinds, seen.verbs))
    assert told[0] == told[1]


async def test_a_person_gets_three_links_an_hour_and_no_more() -> None:
    user = await a_user()

    async def offered(cause: str, at: Any) -> bool:
        return await claims.offer_claim(user.id, claim_url="", cause=cause, acting=BY, at=at) is not None

    assert [await offered(f"mail {number}", NOW + number * HOUR / 10) for number in range(4)] == [
        True,
        True,
        True,
        False,
    ]
    assert [await offered(f"later {number}", NOW + HOUR) for number in range(2)] == [True, False]


async def test_whoever_meets_twenty_known_people_an_hour_signs_up_nobody_for_a_while() -> None:
    given = details()
    await written_down(given)
    for _ in range(20):
        with pytest.raises(Refusal, match="RECORD_ALREADY_EXISTS"):
            await sign_up(given, "key:prober")
    for each in (given, details()):  # known or not: the answer tells nothing
        async with refused(Code.TOO_MANY_ATTEMPTS):
            await sign_up(each, "key:prober")
    await sign_up(details(), "key:somebody else")
    await sign_up(details(), "key:prober", NOW + HOUR + timedelta(seconds=1))
