"""Places of courses that time frees."""

from models.actions import waiting
from workers.work import Work


async def lapse_offers(work: Work) -> None:
    """Pass on the places whose offers have ended, a course at a time."""
    for course_id in await waiting.to_pass_on(work.now):
        await waiting.lapse_offers(course_id, acting=work.acting, at=work.now)
