"""Trial purchases: what proves that somebody bought a course on either side, and that the other side knows.

A probe looks; it charges nobody. Source: CoursePro, Checklist; R78, R80.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from models.actions.catalogue import price_at
from models.actions.unit import Wanted, unit
from models.rules.states import Probe
from models.tables import sql
from models.tables.coursepro import ProbeRun
from models.tables.user import UserField

Evidence = dict[str, Any]

_BOUGHT_THERE = (
    "SELECT m.id AS membership_id, m.user_id, m.cart_ref, m.amount, m.currency, m.pricing_option_id, m.centre_id,"
    " m.starts_on, l.external_id AS coursepro_id FROM membership m"
    " JOIN membership_type t ON t.id = m.membership_type_id AND t.integration = 'COURSEPRO_COURSE'"
    " JOIN user_account u ON u.id = m.user_id JOIN external_link l ON l.user_id = u.id"
    " AND l.provider = 'COURSEPRO' AND l.state <> 'UNLINKED'"
    # somebody born there is linked in the moment the record is made
    " AND l.created_at < u.created_at + interval '1 minute'"
    " WHERE m.cart_ref IS NOT NULL ORDER BY m.id DESC LIMIT 1"
)
_BOUGHT_HERE = (
    "SELECT m.id AS membership_id, m.user_id, j.id AS job_id, j.finished_at AS told_at, l.external_id AS coursepro_id"
    " FROM membership m JOIN membership_type t ON t.id = m.membership_type_id AND t.integration = 'COURSEPRO_COURSE'"
    " JOIN job j ON j.kind IN ('courses.push_membership', 'courses.push_cart') AND j.state = 'DONE'"
    " AND j.payload ->> 'membership_id' = m.id::text"
    " LEFT JOIN external_link l ON l.user_id = m.user_id AND l.provider = 'COURSEPRO' AND l.state <> 'UNLINKED'"
    " WHERE m.cart_ref IS NULL AND m.status <> 'PENDING' ORDER BY m.id DESC, j.id DESC LIMIT 1"
)
_MAPPED = (
    "SELECT k.course_ref, k.pricing_option_id, k.centre_id FROM course_mapping k JOIN payment_option p"
    " ON p.membership_type_id = k.membership_type_id AND p.pricing_option_id = k.pricing_option_id"
    " ORDER BY k.id DESC LIMIT 1"
)
NOTHING_YET = {
    Probe.BORN_THERE: "Nobody who was born in CoursePro has bought a course there: sign a person up and buy one.",
    Probe.BORN_HERE: "CoursePro was told of no membership bought here: sell one, and let its money be sure.",
}


async def run_probe(probe: Probe, *, acting: str, at: datetime) -> Wanted:
    """Ask for a trial purchase to be looked for -> the job that does it and writes the run, under its own id."""
    async with unit(acting=acting, at=at) as work:
        job = work.job("courses.probe", payload={"probe": probe}, subject=f"courses.probe:{probe}")
        work.audit("run_integration_probe", ("ProbeRun", job.id), after={"probe": probe})
    return job


@dataclass(frozen=True, slots=True)
class Order:
    """Who signs up in the course system's stand-in, and the item that is bought there."""

    fields: dict[str, str]
    item: dict[str, str]


async def order_there(at: datetime) -> Order | None:
    """Somebody new and the course mapped last, to start on this day; None where no course is mapped to a price."""
    rows = await sql.rows(_MAPPED)
    if not rows:
        return None
    asked = {field.name: "probe" for field in await UserField.every(required=True)}
    number = uuid4().hex[:12]
    known = {"first_name": "Probe", "last_name": at.strftime("%d %B %H:%M"), "email": f"probe-{number}@example.org"}
    item = {name: str(value) for name, value in rows[0].items()}
    return Order({**asked, **known}, {**item, "start_date": at.date().isoformat()})


async def look(probe: Probe) -> tuple[bool, Evidence]:
    """Which trial -> whether it went well, and the ids that prove it, or what to do where nothing does."""
    rows = await sql.rows(_BOUGHT_THERE if probe is Probe.BORN_THERE else _BOUGHT_HERE)
    if not rows:
        return False, {"to do": NOTHING_YET[probe]}
    (found,) = rows
    if probe is Probe.BORN_HERE:
        return True, found
    option_id, centre_id, starts_on = (found.pop(name) for name in ("pricing_option_id", "centre_id", "starts_on"))
    option, ours, level = await price_at(option_id, centre_id=centre_id, on=starts_on)
    same = (found["amount"], found["currency"]) == (ours, option.currency)
    return same, {**found, "our_price": ours, "price_level": level}


async def record(
    run_id: UUID, probe: Probe, *, passed: bool, evidence: Evidence, acting: str, at: datetime
) -> ProbeRun:
    """Keep what a trial showed; a run written before under this id is kept as it is."""
    async with unit(acting=acting, at=at) as work:
        run, fresh = await ProbeRun.get_or_create(
            id=run_id, defaults={"probe": probe, "passed": passed, "evidence": _plain(evidence), "at": at}
        )
        if fresh:
            work.audit("probe", run, after={"probe": probe, "passed": passed})
    return run


def _plain(evidence: Evidence) -> Evidence:
    """Ids and instants as text; amounts stay numbers, of minor units."""
    return {name: value if value is None or isinstance(value, int) else str(value) for name, value in evidence.items()}
