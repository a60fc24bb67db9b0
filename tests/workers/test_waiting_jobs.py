"""What time does to a waiting list, and the message about an offered place: each by its job, from row to end."""

from dataclasses import dataclass, field
from datetime import datetime

import pytest

from integrations.registry import Registry
from models.actions import jobs
from models.actions.bookings import book_course
from models.actions.cancellations import release
from models.actions.unit import unit
from models.actions.vault import Vault
from models.actions.waiting import join_waiting_list
from models.ports import Notifier
from models.rules.booking import Method
from models.rules.states import JobState, WaitingState
from models.tables.booking import WaitingPlace
from models.tables.course import Course
from models.tables.job import Job
from models.tables.notification import Notification
from models.tables.user import User
from tests.build import BY, DAY, HOUR, NOW, a_course, a_user
from workers.kinds import HANDLERS, RECURRING
from workers.runner import Runner, Wakes
from workers.work import Outside

pytestmark = pytest.mark.usefixtures("database")
OFFERED, LAPSED = WaitingState.OFFERED, WaitingState.LAPSED


@dataclass
class At:
    """A clock that stands."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Post:
    """Takes every message."""

    sent: list[tuple[str, str, str]] = field(default_factory=list)

    async def send(self, *, email: str, subject: str, text: str, key: str) -> None:
        self.sent.append((email, subject, key))


class Mailing(Registry):
    """Providers of which only the post is set up, or not even that."""

    def __init__(self, post: Post | None, vault: Vault) -> None:
        super().__init__(vault, None)
        self._post = post

    async def notifier(self) -> Notifier | None:
        return self._post


@dataclass
class Desk:
    """A worker with its clock and its post."""

    clock: At
    post: Post
    runner: Runner

    async def run(self, kind: str) -> Job:
        """Run the newest job of a kind, due or not -> its row."""
        job = await Job.filter(kind=kind).order_by("-id").first()
        assert job is not None
        await Job.filter(id=job.id).update(state="READY", run_at=None)
        await self.runner.run(job.id)
        return await Job.get(id=job.id)


async def silent(wakes: Wakes) -> None:
    """Nobody rings."""


def a_desk(outside: Outside, secret_key: str, post: Post | None) -> Desk:
    clock = At()
    world = Outside(Mailing(post, Vault(secret_key)), clock, outside.bus)
    return Desk(clock, post or Post(), Runner(HANDLERS, RECURRING, world, silent))


async def two_wait_and_one_is_offered() -> tuple[Course, User, User]:
    """A course of one place, given up again while Ada and Ben waited for it."""
    course = await a_course(future=8, price=0, capacity=1)
    holder, ada, ben = [await a_user(name) for name in ("Cleo", "Ada", "Ben")]
    booking = await book_course(user_id=holder.id, course_id=course.id, method=Method.PAYMENT, acting=BY, at=NOW)
    for each in (ada, ben):
        await join_waiting_list(course_id=course.id, user_id=each.id, acting=BY, at=NOW)
    async with unit(acting=BY, at=NOW) as work:
        await release(work, booking.id, because="asked")
    return course, ada, ben


async def test_an_offered_place_is_written_about_and_sent_once(outside: Outside, secret_key: str) -> None:
    _, ada, _ = await two_wait_and_one_is_offered()
    desk = a_desk(outside, secret_key, Post())
    for _ in range(2):
        assert (await desk.run("notifications.place_offered")).state is JobState.DONE
    note = await Notification.get(user_id=ada.id)
    assert (note.kind, note.sent_at) == ("PLACE_OFFERED", NOW)
    assert desk.post.sent == [(ada.email, "A place has come free", str(note.id))]


async def test_without_a_mail_server_the_message_waits_in_its_list(outside: Outside, secret_key: str) -> None:
    _, ada, _ = await two_wait_and_one_is_offered()
    assert (await a_desk(outside, secret_key, None).run("notifications.place_offered")).state is JobState.DONE
    assert (await Notification.get(user_id=ada.id)).sent_at is None


async def test_a_message_that_comes_too_late_is_not_written(outside: Outside, secret_key: str) -> None:
    _, ada, _ = await two_wait_and_one_is_offered()
    desk = a_desk(outside, secret_key, Post())
    desk.clock.at = NOW + DAY
    assert (await desk.run("notifications.place_offered")).state is JobState.DONE
    assert await Notification.filter(user_id=ada.id).count() == 0
    assert desk.post.sent == []


async def test_twice_a_minute_places_whose_offers_ended_are_passed_on(outside: Outside, secret_key: str) -> None:
    await jobs.ensure_recurring(RECURRING)
    assert RECURRING["courses.lapse_offers"] == 30.0
    lists = [await two_wait_and_one_is_offered() for _ in range(3)]
    desk = a_desk(outside, secret_key, Post())
    for at, first, second in (
        (NOW + DAY - HOUR, OFFERED, WaitingState.WAITING),
        (NOW + DAY, LAPSED, OFFERED),
        (NOW + 2 * DAY, LAPSED, LAPSED),
    ):
        desk.clock.at = at
        assert (await desk.run("courses.lapse_offers")).state is JobState.READY
        for course, ada, ben in lists:
            line = await WaitingPlace.filter(course_id=course.id).order_by("id")
            assert [(each.user_id, each.state) for each in line] == [(ada.id, first), (ben.id, second)]
