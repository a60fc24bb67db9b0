"""What CoursePro asks and tells at /coursepro/v1, over ASGI: signed, answered at once, the first answer for repeats."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette

from integrations.coursepro_calls import routes
from integrations.registry import COURSE_CALLS, Registry
from models.actions import inbound, jobs, settings
from models.actions.keys import create_api_key
from models.actions.vault import Vault
from models.ports import ReceivedEvent
from models.rules.lifecycle import Cause, Status
from models.rules.pricing import Integration
from models.rules.refusals import Code
from models.rules.states import InboxState, KeyPurpose, Provider, Role
from models.tables.config import opened
from models.tables.coursepro import CourseMapping, Drift
from models.tables.inbox import InboxEvent
from models.tables.job import Job
from models.tables.membership import Membership
from models.tables.row import new_id
from tests.build import (
    BY,
    NOW,
    a_centre,
    a_mandate,
    a_membership_type,
    a_name,
    a_user,
    everything,
    nothing_written,
)
from tests.integrations.conftest import Sandbox, StoppedClock
from workers.jobs import memberships as work_of
from workers.work import Outside, Work

TOKEN = "cpst_of_the_club_1"
WHO: dict[str, Any] = {"acting": BY, "at": NOW}
SETTINGS = {"client_id": "club", "cart_complete_url": "http://127.0.0.1:9/c", "user_sync_url": "http://127.0.0.1:9/u"}


class Site:
    """The calls served, with a key of their own, and what CoursePro signs with."""

    def __init__(self, http: httpx.AsyncClient, key: str, registry: Registry, vault: Vault) -> None:
        self.http, self.key, self.registry, self.vault = http, key, registry, vault

    async def configure(self, secret: str = TOKEN, **changed: Any) -> None:
        await settings.configure_provider(
            Provider.COURSEPRO,
            settings=SETTINGS | changed,
            secrets={"secret_token": secret},
            enabled=True,
            vault=self.vault,
            local=True,
            **WHO,
        )

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self.key}"}
        answer = await self.http.get(f"/coursepro/v1{path}", params=query, headers=headers)
        return answer.status_code, answer.json()

    async def tell(self, path: str, body: dict[str, Any], method: str = "POST", **headers: str) -> tuple[int, Any]:
        body = {"event_id": a_name("event"), "occurred_at": NOW.isoformat(), **body}
        content = orjson.dumps(body)
        own = {
            "authorization": f"Bearer {self.key}",
            "x-event-id": body["event_id"],
            "x-signature": hmac.new(TOKEN.encode(), content, hashlib.sha256).hexdigest(),
        }
        answer = await self.http.request(method, f"/coursepro/v1{path}", content=content, headers={**own, **headers})
        return answer.status_code, answer.json()


@pytest.fixture(scope="module")
async def site(database_url: str, secret_key: str) -> AsyncIterator[Site]:
    vault, clock = Vault(secret_key), StoppedClock(NOW)
    registry = Registry(vault, "http://127.0.0.1:9", clock=clock)

    async def store(provider: Provider, events: Any) -> int:
        return await inbound.receive(provider, events)

    app = Starlette(routes=routes(registry, store, clock, COURSE_CALLS))
    async with opened(f"{database_url}?maxsize=8"):
        _, key = await create_api_key(name="coursepro", role=Role.PARTNER, purpose=KeyPurpose.COURSEPRO, **WHO)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as http:
            yield Site(http, key, registry, vault)
        await registry.close()


async def a_course(site: Site, **options: Any) -> dict[str, Any]:
    """A course mapped as CoursePro does it."""
    kind, option = await a_membership_type(**options)
    body = {
        "course_ref": a_name("SWIM"),
        "pricing_option_id": str(option.id),
        "centre_id": str((await a_centre()).id),
    }
    status, told = await site.tell("/course-mappings", body, "PUT")
    assert (status, told) == (200, {**body, "membership_type_id": str(kind.id), "verified_at": None})
    return {**body, "start_date": NOW.date().isoformat()}


async def test_what_may_be_mapped_is_shown_once_the_link_is_set_up(site: Site) -> None:
    """R23, R26, R37."""
    kind, option = await a_membership_type()
    await a_membership_type(integration=Integration.NONE)
    centre = await a_centre()
    assert await site.get("/pricing-options") == (200, {"pricing_options": []})
    assert (await site.tell("/carts", {}))[0] == 503
    await site.configure()
    assert (await site.get("/pricing-options")) == (
        200,
        {
            "pricing_options": [
                {
                    "pricing_option_id": str(option.id),
                    "name": option.name,
                    "frequency": "recurring",
                    "currency": "GBP",
                    "membership_type": {
                        "id": str(kind.id),
                        "name": kind.name,
                        "kind": "ongoing",
                        "term_months": None,
                        "sessions": None,
                    },
                    "prices": [
                        {"centre_id": str(centre.id), "centre": centre.name, "price_minor": 3500, "level": "base"}
                    ],
                }
            ]
        },
    )


async def test_only_coursepro_is_served(site: Site) -> None:
    before = await everything()
    _, other = await create_api_key(name="till", role=Role.ADMIN, **WHO)
    for key in ("", "nonsense", other):
        headers = {"authorization": f"Bearer {key}"}
        assert (await site.http.get("/coursepro/v1/memberships", headers=headers)).status_code == 401
    for wrong in ({"authorization": f"Bearer {other}"}, {"x-signature": "0" * 64}, {"x-signature": ""}):
        assert (await site.tell("/carts", {"cart_id": "c"}, **wrong))[0] == 401
    assert (await site.tell("/carts", {"cart_id": "c"}, **{"x-event-id": "another"})) == (
        422,
        {
            "code": "INVALID_INPUT",
            "message": "The header X-Event-Id is the body's event_id. Correct the field named.",
            "field": "event_id",
        },
    )
    assert (await site.tell("/attendees", {"outcome": "cancelled"}))[0] == 401
    assert (await site.http.get("/coursepro/v1/carts")).status_code == 405
    after = await everything()
    assert {name for name in after if after[name] != before[name]} == {"api_key", "audit_entry"}


async def test_a_cart_is_answered_once_with_our_price(site: Site) -> None:
    user, course = await a_user(), await a_course(site)
    await a_mandate(user)
    body = {
        "event_id": "cart-event-1",
        "cart_id": "cart-1",
        "user": {"user_id": str(user.id)},
        "items": [{**course, "amount": 100}],
    }
    status, told = await site.tell("/carts", body)
    membership = await Membership.get(cart_ref="cart-1")
    assert (status, told["items"]) == (
        200,
        [
            {
                "membership_id": str(membership.id),
                "pricing_option_id": course["pricing_option_id"],
                "course_ref": course["course_ref"],
                "centre_id": course["centre_id"],
                "price_minor": 3500,
                "currency": "GBP",
                "status": "ACTIVE",
            }
        ],
    )
    assert (told["cart_id"], told["mandate"]["status"]) == ("cart-1", "ACTIVE")
    assert (await CourseMapping.get(course_ref=course["course_ref"])).verified_at == NOW
    assert (await Drift.get(subject_id=membership.id)).theirs == "100"
    stored = await InboxEvent.get(event_id="cart-event-1")
    assert (stored.event_type, stored.state, stored.body["answer"]) == ("POST /carts", InboxState.APPLIED, told)
    async with nothing_written():
        assert await site.tell("/carts", body) == (200, told)
        status, no = await site.tell("/carts", {**body, "cart_id": "cart-9"})
        assert (status, no["code"]) == (422, "IDEMPOTENCY_KEY_MISMATCH")
    status, again = await site.tell("/carts", {**body, "event_id": "cart-event-2"})
    assert (status, again) == (200, told), "the same cart under another event is the same cart"
    assert (
        await (await site.registry.webhooks(Provider.COURSEPRO)).facts(
            ReceivedEvent("cart-event-1", stored.event_type, None, stored.body)
        )
        == []
    ), "replayed by a person it asks for nothing"


async def test_deliveries_at_once_get_one_answer(site: Site) -> None:
    """The same event several times over, and the same cart and the same move under other events."""
    user, first, dearer = await a_user(), await a_course(site), await a_course(site, price=50_00)
    await a_mandate(user)
    cart = {"cart_id": a_name("cart"), "user": {"user_id": str(user.id)}, "items": [first]}
    event = a_name("event")
    carts = await asyncio.gather(
        *(site.tell("/carts", {**cart, "event_id": event}) for _ in range(3)),
        *(site.tell("/carts", cart) for _ in range(3)),
    )
    assert [status for status, _ in carts] == [200] * 6
    (membership,) = {told["items"][0]["membership_id"] for _, told in carts}
    move = {
        "membership_id": membership,
        "from_course_ref": first["course_ref"],
        "to_course_ref": dearer["course_ref"],
        "pricing_option_id": dearer["pricing_option_id"],
        "effective_at": NOW.isoformat(),
    }
    moves = await asyncio.gather(*(site.tell("/courses/moved", move) for _ in range(4)))
    assert [status for status, _ in moves] == [200] * 4
    assert len({told["membership_id"] for _, told in moves}) == 1
    assert await Membership.filter(user_id=user.id).count() == 2


async def test_what_breaks_the_contract_is_refused_and_leaves_nothing(site: Site) -> None:
    """R9, R62."""
    user, course, other = await a_user(), await a_course(site, price=0), await a_course(site, price=0)
    who = {"user_id": str(user.id)}
    good: dict[str, Any] = {"cart_id": "cart-2", "user": who, "items": [course]}
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"cart_id": None}, "INVALID_INPUT", "cart_id"),
        ({"cart_id": "x" * 65}, "INVALID_INPUT", "cart_id"),
        ({"user": "Ada"}, "INVALID_INPUT", "user"),
        ({"user": {}}, "NOT_FOUND", "user"),
        ({"user": {"user_id": "7"}}, "INVALID_INPUT", "user_id"),
        ({"items": []}, "INVALID_INPUT", "items"),
        ({"items": [7]}, "INVALID_INPUT", "items"),
        ({"items": [course, {**course, "start_date": "soon"}]}, "INVALID_INPUT", "items.1.start_date"),
        (
            {"items": [course, {**course, "pricing_option_id": str(new_id())}]},
            "UNKNOWN_PRICING_OPTION",
            "items.1.pricing_option_id",
        ),
        (
            {"items": [course, {**course, "pricing_option_id": other["pricing_option_id"]}]},
            "COURSE_NOT_MAPPED",
            "items.1.course_ref",
        ),
        ({"items": [{**course, "course_ref": "nowhere"}]}, "COURSE_NOT_MAPPED", "items.0.course_ref"),
        ({"mandate": str(new_id())}, "NO_MANDATE", "items.0.mandate_id"),
        ({"user": {**who, "bank": {"account_number": "1"}}}, "BILLING_DETAILS_REFUSED", "user.bank"),
    ]
    async with nothing_written():
        for changes, code, field in wrong:
            status, no = await site.tell("/carts", {**good, "event_id": "cart-event-3", **changes})
            assert (status, no["code"], no["field"]) == (422, code, field), changes
            assert no["message"]
    status, told = await site.tell("/carts", {**good, "event_id": "cart-event-3"})
    assert (status, told["items"][0]["status"], told["mandate"]) == (200, "ACTIVE", None), "a refused id is free"


async def test_a_mapping_is_told_by_either_method_and_refused_where_it_cannot_be(site: Site) -> None:
    course = await a_course(site)
    body = {name: course[name] for name in ("course_ref", "pricing_option_id", "centre_id")}
    before = await CourseMapping.get(course_ref=course["course_ref"])
    assert (await site.tell("/course-mappings", {**body, "price": 1}))[0] == 200
    assert (await Drift.get(subject_id=before.id)).theirs == "1"
    assert (await CourseMapping.get(course_ref=course["course_ref"])).updated_at == before.updated_at
    status, no = await site.tell("/course-mappings", {**body, "pricing_option_id": str(new_id())})
    assert (status, no["code"], no["field"]) == (422, "UNKNOWN_PRICING_OPTION", "pricing_option_id")


async def test_a_move_is_answered_with_the_membership_that_stands(site: Site) -> None:
    user, first, dearer = await a_user(), await a_course(site), await a_course(site, price=50_00)
    await a_mandate(user)
    who = {"user_id": str(user.id)}
    _, cart = await site.tell("/carts", {"cart_id": a_name("cart"), "user": who, "items": [first]})
    body = {
        "membership_id": cart["items"][0]["membership_id"],
        "from_course_ref": first["course_ref"],
        "to_course_ref": dearer["course_ref"],
        "pricing_option_id": dearer["pricing_option_id"],
        "effective_at": NOW.isoformat(),
    }
    async with nothing_written():
        for changes, code, field in (
            ({"effective_at": "2026-03-02T10:00:00"}, "INVALID_INPUT", "effective_at"),
            ({"membership_id": str(new_id())}, "NOT_FOUND", "membership_id"),
            ({"to_course_ref": "nowhere"}, "COURSE_NOT_MAPPED", "course_ref"),
        ):
            status, no = await site.tell("/courses/moved", {**body, **changes})
            assert (status, no["code"], no["field"]) == (422, code, field)
    status, told = await site.tell("/courses/moved", {**body, "amount": 1, "price_minor": 50_00})
    assert (status, told["price_minor"], told["status"]) == (200, 50_00, "ACTIVE")
    drift = await Drift.get(subject_id=told["membership_id"])
    assert (drift.field, drift.ours, drift.theirs) == ("amount", "5000", "1")
    assert (told["moved_from"], told["fees_from"]) == (body["membership_id"], None)
    assert await site.tell("/courses/moved", body) == (200, told), "under another event it is no second move"
    old = await Membership.get(id=body["membership_id"])
    assert (old.status, old.reason) == (Status.CANCELLED, Cause.COURSE_MOVED)


async def test_memberships_are_read_from_an_instant_on(site: Site) -> None:
    status, told = await site.get("/memberships", changed_since="2020-01-01T00:00:00+00:00")
    assert (status, told["next"]) == (200, None)
    rows = {str(row.id): row for row in await Membership.exclude(status=Status.PENDING)}
    assert [each["id"] for each in told["memberships"]] == sorted(rows, key=lambda key: (rows[key].updated_at, key))
    one = told["memberships"][0]
    row = rows[one["id"]]
    assert one == {
        "id": str(row.id),
        "user_id": str(row.user_id),
        "course_ref": row.course_ref,
        "status": row.status,
        "availability": "active",
        "reason": row.reason,
        "effective_at": row.updated_at.isoformat(),
        "version": row.version,
    }
    last = told["memberships"][-1]
    _, rest = await site.get("/memberships", after=f"{last['effective_at']}_{last['id']}")
    assert rest == {"memberships": [], "next": None}
    later = datetime(2100, 1, 1, tzinfo=UTC).isoformat()
    assert (await site.get("/memberships", changed_since=later))[1]["memberships"] == []
    for wrong, field in (({}, "changed_since"), ({"changed_since": "x"}, "changed_since"), ({"after": "x"}, "after")):
        status, no = await site.get("/memberships", **wrong)
        assert (status, no["code"], no["field"]) == (422, Code.INVALID_INPUT, field)


async def test_a_purchase_reaches_coursepro_before_its_status(site: Site, sandbox: Sandbox) -> None:
    """R52, R69: the line of the membership's jobs, run against the sandbox."""
    base, credentials = sandbox.urls["coursepro"], sandbox.credentials["coursepro"]
    user, course = await a_user(), await a_course(site)
    await a_mandate(user)
    body = {"cart_id": a_name("cart"), "user": {"user_id": str(user.id)}, "items": [course]}
    _, cart = await site.tell("/carts", body)
    membership_id = cart["items"][0]["membership_id"]
    await site.configure(
        credentials["secret_token"],
        client_id=credentials["client_id"],
        cart_complete_url=f"{base}/cart-complete",
        user_sync_url=f"{base}/user-sync",
    )
    registry = Registry(site.vault, "http://127.0.0.1:9")
    outside = Outside(registry, StoppedClock(NOW), None)  # type: ignore[arg-type]  # these jobs tell no subscriber
    subject = f"courses.push_membership:{membership_id}"
    line = await Job.filter(subject=subject).order_by("id")
    assert [job.kind for job in line] == ["courses.push_cart", "courses.push_membership"]
    assert await jobs.claim(line[1].id) is None, "the status waits for the purchase"
    for job, run in zip(line, (work_of.push_cart, work_of.push), strict=True):
        held = await jobs.claim(job.id)
        assert held is not None
        await run(Work(held, outside))
        await jobs.finish(held.lease)
    await registry.close()
    (told,) = sandbox.state_of("coursepro.customers_course")
    assert (told["id"], told["cart_id"], told["price_minor"]) == (membership_id, body["cart_id"], 35_00)
    assert (told["availability"], told["status"], told["version"]) == ("active", "ACTIVE", 2)
    (person,) = sandbox.state_of("coursepro.user")
    assert (person["user_id"], person["email"]) == (str(user.id), user.email)
