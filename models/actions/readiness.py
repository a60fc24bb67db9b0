"""What the checklist of going live is computed from, in five statements."""

from datetime import datetime
from itertools import groupby
from typing import Any

from models.actions.coursepro_setup import missing_of
from models.actions.settings import USER_SYNC
from models.rules.pricing import Frequency, MembershipKind, OptionType
from models.rules.readiness import Found, Item, Mapped, Run, Sold, checklist
from models.rules.states import KeyPurpose, Probe, Provider
from models.tables import sql
from models.tables.coursepro import ProbeRun
from models.tables.setting import ApiKey, ProviderSetting

_SOLD = (
    "SELECT t.id, t.name, t.kind, o.option_type, o.frequency FROM membership_type t"
    " LEFT JOIN payment_option p ON p.membership_type_id = t.id"
    " LEFT JOIN pricing_option o ON o.id = p.pricing_option_id"
    " WHERE t.integration = 'COURSEPRO_COURSE' ORDER BY t.id, o.id"
)
_MAPPED = (
    "SELECT count(*) AS courses, count(m.verified_at) AS verified,"
    " count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM payment_option p WHERE p.membership_type_id ="
    " m.membership_type_id AND p.pricing_option_id = m.pricing_option_id)) AS broken,"
    " (SELECT count(*) FROM membership_type t WHERE t.integration = 'COURSEPRO_COURSE' AND NOT EXISTS"
    " (SELECT 1 FROM course_mapping k WHERE k.membership_type_id = t.id)) AS types_without FROM course_mapping m"
)


async def readiness(at: datetime) -> tuple[Item, ...]:
    """Now -> the steps of the checklist in their order."""
    row = await ProviderSetting.one(provider=Provider.COURSEPRO)
    settings: dict[str, Any] = row.settings if row else {}
    entered = {**settings, **dict.fromkeys(row.hints if row else (), "a secret")}
    found = Found(
        sold=await _sold(),
        mapped=Mapped(**(await sql.rows(_MAPPED))[0]),
        missing=missing_of(entered),
        enabled=row is not None and row.enabled,
        user_sync=bool(settings.get(USER_SYNC)),
        keys=await _keys(at),
        runs=await _runs(),
    )
    return checklist(found, at)


async def _sold() -> list[Sold]:
    kinds = []
    for (_, name, kind), prices in groupby(
        await sql.rows(_SOLD), key=lambda row: (row["id"], row["name"], row["kind"])
    ):
        options = [
            (OptionType(price["option_type"]), Frequency(price["frequency"]))
            for price in prices
            if price["option_type"]
        ]
        kinds.append(Sold(name, MembershipKind(kind), tuple(options)))
    return kinds


async def _keys(at: datetime) -> list[tuple[str, datetime | None]]:
    kept = ApiKey.filter(purpose=KeyPurpose.COURSEPRO, revoked_at__isnull=True).order_by("id")
    return [(key.name, key.expires_at) for key in await kept if key.expires_at is None or key.expires_at > at]


async def _runs() -> dict[Probe, Run]:
    """The last of each: a run has the id of its job, and later jobs have later ids."""
    last: list[ProbeRun] = await ProbeRun.raw("SELECT DISTINCT ON (probe) * FROM probe_run ORDER BY probe, id DESC")
    return {run.probe: Run(run.passed, run.at, run.evidence) for run in last}
