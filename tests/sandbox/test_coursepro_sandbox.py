"""CoursePro's stand-in speaks the contract of docs/coursepro.md in both directions."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.sandbox.conftest import Receiver, Sandbox

USER = {"user_id": "U1", "first_name": "Ada", "last_name": "Byron", "email": "ada@example.org"}
ITEM = {
    "membership_id": "M1",
    "pricing_option_id": "PO1",
    "membership_type": "recurring",
    "course_ref": "SWIM-1",
    "centre_id": "C1",
    "price_minor": 3200,
    "currency": "GBP",
    "start_date": "2026-01-05",
    "end_date": None,
}
AT = "2026-01-05T09:00:00+00:00"


def cart(event_id: str = "e1", kind: str = "card", **more: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event": "cart.complete",
        "occurred_at": AT,
        "cart_id": "CART1",
        "external_reference": None,
        "client_identifier": "coursepro",
        "user": USER,
        "items": [ITEM],
        "payment": {"kind": kind, "instruction_status": "pending"},
        **more,
    }


def status(event_id: str, availability: str, version: int, reason: str | None = None) -> dict[str, Any]:
    news = {
        "id": "M1",
        "course_ref": "SWIM-1",
        "availability": availability,
        "reason": reason,
        "effective_at": AT,
        "version": version,
    }
    event = {"event_id": event_id, "event": "membership.status_changed", "occurred_at": AT}
    return {**event, "user": {"user_id": "U1"}, "memberships": [news]}


class CoursePro:
    """Posts signed webhooks, as our worker does, and reads the customers' courses back."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self.credentials = sandbox.credentials["coursepro"]
        self.http = httpx.Client(base_url=sandbox.urls["coursepro"], trust_env=False)

    def post(self, path: str, event: dict[str, Any], **headers: str) -> httpx.Response:
        body = json.dumps(event).encode()
        secret = self.credentials["secret_token"]
        own = {
            "x-client-identifier": self.credentials["client_id"],
            "authorization": f"Bearer {secret}",
            "x-signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
            "x-event-id": event.get("event_id", ""),
        }
        return self.http.post(path, content=body, headers=own | headers)

    def courses(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/customers-courses").json()["customers_courses"]
        return found

    def availability(self) -> tuple[str, str | None, int]:
        (course,) = self.courses()
        return course["availability"], course["reason"], course["version"]


@pytest.fixture
def coursepro(sandbox: "Sandbox") -> Iterator[CoursePro]:
    client = CoursePro(sandbox)
    yield client
    client.http.close()


def test_a_completed_cart_gives_the_customer_the_course(coursepro: CoursePro, sandbox: "Sandbox") -> None:
    answer = coursepro.post("/cart-complete", cart())
    assert (answer.status_code, answer.json()["applied"]) == (200, True)
    (course,) = coursepro.courses()
    assert course == {
        **{name: value for name, value in ITEM.items() if name != "membership_id"},
        "id": "M1",
        "user_id": "U1",
        "cart_id": "CART1",
        "availability": "active",
        "reason": None,
        "effective_at": AT,
        "version": 0,
        "ended_here": None,
    }
    (user,) = sandbox.do("coursepro", "customers_courses")["users"]
    assert user.pop("coursepro_id").startswith("cp_")
    assert user == USER


def test_a_direct_debit_not_yet_set_up_leaves_the_course_unavailable(coursepro: CoursePro) -> None:
    coursepro.post("/cart-complete", cart(kind="direct_debit"))
    assert coursepro.availability() == ("unavailable", "mandate_pending", 0)
    coursepro.post("/user-sync", status("e2", "active", 1))
    assert coursepro.availability() == ("active", None, 1)


@pytest.mark.parametrize("header", ["x-client-identifier", "authorization", "x-signature", "x-event-id"])
def test_without_one_right_header_nothing_is_taken(coursepro: CoursePro, header: str) -> None:
    answer = coursepro.post("/cart-complete", cart(), **{header: "" if header == "x-event-id" else "wrong"})
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    assert coursepro.courses() == []


def test_a_repeated_event_changes_nothing(coursepro: CoursePro) -> None:
    coursepro.post("/cart-complete", cart())
    coursepro.post("/user-sync", status("e2", "unavailable", 1, "payment_failed"))
    again = coursepro.post("/cart-complete", cart())
    assert (again.status_code, again.json()) == (200, {"applied": False, "reason": "duplicate"})
    assert coursepro.availability() == ("unavailable", "payment_failed", 1)


def test_swapped_events_end_in_the_newest_state(coursepro: CoursePro) -> None:
    assert coursepro.post("/user-sync", status("e3", "unavailable", 3, "payment_failed")).json() == {"applied": True}
    older = coursepro.post("/user-sync", status("e2", "active", 2))
    assert (older.status_code, older.json()) == (200, {"applied": False, "reason": "older_version"})
    same = coursepro.post("/user-sync", status("e4", "active", 3))
    assert same.json() == {"applied": False, "reason": "older_version"}, "an equal version is not newer"
    late_cart = coursepro.post("/cart-complete", cart())
    assert not late_cart.json()["applied"]
    assert coursepro.availability() == ("unavailable", "payment_failed", 3)
    (course,) = coursepro.courses()
    assert course["price_minor"] == 3200, "what the late cart knew is filled in"


def test_changed_fields_are_merged_and_strangers_are_not_created(coursepro: CoursePro, sandbox: "Sandbox") -> None:
    edit = {"event_id": "e2", "event": "user.updated", "occurred_at": AT, "user": {"user_id": "U1", "email": "b@x.org"}}
    assert coursepro.post("/user-sync", edit).json() == {"applied": False, "reason": "unknown_user"}
    coursepro.post("/cart-complete", cart())
    assert coursepro.post("/user-sync", edit | {"event_id": "e3"}).json() == {"applied": True}
    (user,) = sandbox.state_of("coursepro.user")
    assert (user["first_name"], user["email"]) == ("Ada", "b@x.org")


def test_billing_details_and_unknown_words_break_the_contract(coursepro: CoursePro) -> None:
    billing = cart(user=USER | {"bank_account": "1"})
    assert coursepro.post("/cart-complete", billing).status_code == 422
    assert coursepro.post("/user-sync", status("e2", "asleep", 1)).status_code == 422
    assert coursepro.post("/user-sync", {"event_id": "e3", "event": "cart.complete"}).status_code == 422
    assert coursepro.courses() == []
    assert coursepro.post("/cart-complete", cart()).json()["applied"], "a refused event may be sent again"


def test_down_answers_503_so_often_and_keeps_nothing(coursepro: CoursePro, sandbox: "Sandbox") -> None:
    sandbox.do("coursepro", "down", times=2)
    codes = [coursepro.post("/cart-complete", cart()).status_code for _ in range(3)]
    assert codes == [503, 503, 200]
    assert coursepro.availability() == ("active", None, 0)


def test_a_dropped_answer_is_a_duplicate_on_the_second_try(coursepro: CoursePro, sandbox: "Sandbox") -> None:
    sandbox.post("/faults", provider="coursepro", kind="drop_answer", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        coursepro.post("/cart-complete", cart())
    assert coursepro.post("/cart-complete", cart()).json() == {"applied": False, "reason": "duplicate"}
    assert len(coursepro.courses()) == 1


def test_cancelling_in_coursepro_calls_our_api(coursepro: CoursePro, sandbox: "Sandbox", receiver: "Receiver") -> None:
    coursepro.post("/cart-complete", cart())
    receiver.answer = {"membership_id": "M1", "status": "CANCELLED"}
    done = sandbox.do(
        "coursepro", "cancel_course", api_key="dfk_1", membership_id="M1", actor="staff", effective_at=AT, event_id="E9"
    )
    assert (done["status"], done["answer"]) == (200, {"membership_id": "M1", "status": "CANCELLED"})
    (call,) = receiver.at("/coursepro/v1/courses/ended")
    sent = call.json
    assert sent.pop("occurred_at")
    assert sent == {
        "event_id": "E9",
        "membership_id": "M1",
        "course_ref": "SWIM-1",
        "outcome": "cancelled",
        "actor": "staff",
        "effective_at": AT,
    }
    assert call.headers["authorization"] == "Bearer dfk_1"
    assert call.headers["x-event-id"] == "E9"
    expected = hmac.new(b"coursepro_secret", call.body, hashlib.sha256).hexdigest()
    assert call.headers["x-signature"] == expected
    (course,) = coursepro.courses()
    assert (course["availability"], course["ended_here"]) == ("active", "cancelled"), "both causes are kept apart"


def test_our_refusal_is_reported_and_the_course_stays(
    coursepro: CoursePro, sandbox: "Sandbox", receiver: "Receiver"
) -> None:
    coursepro.post("/cart-complete", cart())
    receiver.statuses, receiver.answer = [401], {"error": "unauthorized"}
    moved = sandbox.do("coursepro", "move_course", api_key="old", membership_id="M1", to_course_ref="SWIM-2")
    assert (moved["status"], moved["answer"]) == (401, {"error": "unauthorized"})
    assert coursepro.courses()[0]["course_ref"] == "SWIM-1"


def test_completing_and_moving_a_course(coursepro: CoursePro, sandbox: "Sandbox", receiver: "Receiver") -> None:
    coursepro.post("/cart-complete", cart())
    sandbox.do("coursepro", "move_course", api_key="k", membership_id="M1", to_course_ref="SWIM-2")
    (moved,) = receiver.at("/coursepro/v1/courses/moved")
    assert (moved.json["from_course_ref"], moved.json["to_course_ref"]) == ("SWIM-1", "SWIM-2")
    sandbox.do("coursepro", "complete_course", api_key="k", membership_id="M1")
    (ended,) = receiver.at("/coursepro/v1/courses/ended")
    assert (ended.json["course_ref"], ended.json["outcome"]) == ("SWIM-2", "completed")
    receiver.answer = {"membership_id": "M2"}
    sandbox.do("coursepro", "move_course", api_key="k", membership_id="M1", to_course_ref="SWIM-3")
    assert coursepro.courses()[0]["course_ref"] == "SWIM-2", "another membership stands for the new course"


def test_a_user_born_in_coursepro_is_linked_by_our_answer(
    coursepro: CoursePro, sandbox: "Sandbox", receiver: "Receiver"
) -> None:
    receiver.statuses, receiver.answer = [201], {"user_id": "U7"}
    fields = {"first_name": "Bo", "last_name": "Day", "email": "bo@example.org"}
    made = sandbox.do("coursepro", "create_user", api_key="k", fields=fields, coursepro_id="cp_7")
    assert (made["status"], made["coursepro_id"]) == (201, "cp_7")
    (call,) = receiver.at("/coursepro/v1/users")
    assert (call.json["coursepro_id"], call.json["fields"]) == ("cp_7", fields)
    edit = {"event_id": "e2", "event": "user.updated", "user": {"user_id": "U7", "first_name": "Beau"}}
    assert coursepro.post("/user-sync", edit).json() == {"applied": True}
    assert sandbox.state_of("coursepro.user") == [
        {**fields, "coursepro_id": "cp_7", "user_id": "U7", "first_name": "Beau"}
    ]


def test_carts_attendees_and_reads_go_to_their_paths(sandbox: "Sandbox", receiver: "Receiver") -> None:
    items = [{"pricing_option_id": "PO1", "course_ref": "SWIM-1", "centre_id": "C1", "start_date": "2026-01-05"}]
    sandbox.do("coursepro", "cart", api_key="k", user={"coursepro_id": "cp_1"}, items=items, cart_id="CART1")
    attendees = [{"attendance_id": "A1", "membership_id": "M1", "starts_at": AT, "mark": None}]
    sandbox.do("coursepro", "post_attendees", api_key="k", attendees=attendees)
    sandbox.do("coursepro", "map_course", api_key="k", course_ref="S", pricing_option_id="P", centre_id="C")
    sandbox.do("coursepro", "pricing_options", api_key="k")
    sandbox.do("coursepro", "changed_memberships", api_key="k", since=AT)
    seen = [(one.method, one.path.removeprefix("/coursepro/v1")) for one in receiver.received]
    assert seen == [
        ("POST", "/carts"),
        ("POST", "/attendees"),
        ("POST", "/course-mappings"),
        ("GET", "/pricing-options"),
        ("GET", "/memberships"),
    ]
    assert receiver.received[0].json["items"] == items
    assert receiver.received[1].json["attendees"] == attendees
    assert {one.headers["authorization"] for one in receiver.received} == {"Bearer k"}
