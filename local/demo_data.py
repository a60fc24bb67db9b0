"""`python -m local.demo_data`: what a new machine starts with. Run again it changes nothing.

Two centres with prices, a swimming school's courses, members with a card, credits and direct debits, a clinic with a
Stripe product, one API key per role. Everything is written by the same actions the API uses.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from local.state import write_private
from models.actions import catalogue, courses, keys, packages, settings, users
from models.actions.vault import Vault
from models.rules.booking import Pricing
from models.rules.pricing import Frequency, Integration, MembershipKind, OptionType
from models.rules.states import KeyPurpose, Provider, Role
from models.tables.centre import Centre
from models.tables.config import opened
from models.tables.setting import ApiKey

ACTING = "demo data"
CLASS = timedelta(minutes=45)
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Machine:
    """What the supervisor tells in the environment."""

    vault: Vault
    sandbox: Json
    keys_file: Path

    @property
    def admin(self) -> str:
        """The sandbox's admin address."""
        return self.at("admin")

    def at(self, name: str) -> str:
        """The address of one of the sandbox's servers."""
        return f"http://{self.sandbox['host']}:{self.sandbox['ports'][name]}"

    async def now(self) -> datetime:
        """The business time: the sandbox's clock, as it may run ahead since an earlier run."""
        return datetime.now(UTC) + timedelta(seconds=await settings.clock_offset())


async def sandbox_does(admin: str, provider: str, action: str, **given: Any) -> Json:
    """Have something happen at a provider -> what it says. Raises httpx.HTTPStatusError."""
    async with httpx.AsyncClient(base_url=admin, trust_env=False, timeout=30) as client:
        answer = await client.post(f"/do/{provider}/{action}", json=given)
        answer.raise_for_status()
        told: Json = answer.json()
        return told


async def providers(machine: Machine, at: datetime) -> None:
    """Point every provider at its stand-in."""
    given = machine.sandbox["credentials"]
    table: dict[Provider, tuple[Json, Json]] = {
        Provider.STRIPE: ({"api_base": machine.at("stripe")}, given["stripe"]),
        Provider.GOCARDLESS: ({"api_base": machine.at("gocardless")}, given["gocardless"]),
        Provider.COURSEPRO: (
            {
                "client_id": given["coursepro"]["client_id"],
                "cart_complete_url": f"{machine.at('coursepro')}/cart-complete",
                "user_sync_url": f"{machine.at('coursepro')}/user-sync",
            },
            {"secret_token": given["coursepro"]["secret_token"]},
        ),
        Provider.NOOKAL: ({"api_base": machine.at("nookal"), "calls_per_second": "50"}, given["nookal"]),
        Provider.XERO: (
            {
                "api_base": machine.at("xero"),
                "client_id": given["xero"]["client_id"],
                "tenant_id": given["xero"]["tenant_id"],
                "account_code": "205",
            },
            {"client_secret": given["xero"]["client_secret"]},
        ),
    }
    for provider, (open_part, secrets) in table.items():
        await settings.configure_provider(
            provider,
            settings=open_part,
            secrets=secrets,
            enabled=True,
            local=True,
            vault=machine.vault,
            acting=ACTING,
            at=at,
        )


async def swimming_school(machine: Machine, at: datetime) -> UUID:
    """A pool with courses and a member who has a card and ten credits -> the member."""
    pools = await catalogue.create_setting_group(name="City pools", acting=ACTING, at=at)
    pool = await catalogue.create_centre(
        name="Riverside Pool",
        zone="Europe/London",
        currency="GBP",
        setting_group_id=pools.id,
        acting=ACTING,
        at=at,
    )
    price = await catalogue.create_pricing_option(
        name="Eight swimming lessons",
        option_type=OptionType.STANDARD,
        frequency=Frequency.FIXED,
        amount=80_00,
        currency="GBP",
        acting=ACTING,
        at=at,
    )
    monthly = await catalogue.create_pricing_option(
        name="Swim academy, monthly",
        option_type=OptionType.COURSEPRO_COURSE,
        frequency=Frequency.RECURRING,
        amount=32_00,
        currency="GBP",
        acting=ACTING,
        at=at,
    )
    await catalogue.set_price_override(
        pricing_option_id=monthly.id, centre_id=pool.id, amount=34_50, acting=ACTING, at=at
    )
    await catalogue.create_membership_type(
        name="Swim academy",
        integration=Integration.COURSEPRO_COURSE,
        kind=MembershipKind.ONGOING,
        pricing_option_ids=[monthly.id],
        acting=ACTING,
        at=at,
    )
    for name, pricing, elapsed in (
        ("Beginners, under way", Pricing.FULL_RATE, 2),
        ("Improvers, prorated", Pricing.PRORATED, 2),
        ("Stroke clinic, next week", Pricing.FULL_RATE, 0),
    ):
        first = at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=3) - timedelta(weeks=elapsed)
        if elapsed == 0:
            first += timedelta(weeks=1)
        starts = [first + timedelta(weeks=week) for week in range(8)]
        await courses.create_course(
            name=name,
            centre_id=pool.id,
            pricing_option_id=price.id,
            pricing=pricing,
            capacity=12,
            sessions=[(start, start + CLASS) for start in starts],
            acting=ACTING,
            at=at,
        )
    member = await users.create_user(
        first_name="Ada", last_name="Marsh", email="ada.marsh@example.test", acting=ACTING, at=at
    )
    card = await sandbox_does(
        machine.admin, "stripe", "create_customer_with_card", email=member.email, name="Ada Marsh"
    )
    for kind in ("customer", "payment_method"):
        await users.link_external(
            user_id=member.id, provider=Provider.STRIPE, kind=kind, external_id=card[kind], acting=ACTING, at=at
        )
    await packages.grant_package(
        user_id=member.id, name="Ten lessons", granted=10, valid_until=at + timedelta(days=365), acting=ACTING, at=at
    )
    return member.id


async def clinic(machine: Machine, at: datetime) -> None:
    """A studio of the practice system, and the card provider's product that pays for its cycling classes."""
    studio = await catalogue.create_centre(
        name="Harbour Studio",
        zone="Australia/Melbourne",
        currency="AUD",
        practice_location="1",
        acting=ACTING,
        at=at,
    )
    kind = await sandbox_does(machine.admin, "nookal", "add_class_type", name="Cycling", price="30.00", duration=45)
    cycling = await catalogue.create_class_type(name="Cycling", practice_id=str(kind["ID"]), acting=ACTING, at=at)
    product = await sandbox_does(
        machine.admin,
        "stripe",
        "create_product",
        name="Cycling membership, weekly",
        amount=50_00,
        currency="aud",
        interval="week",
    )
    await catalogue.create_membership_type(
        name="Cycling membership, weekly",
        integration=Integration.NOOKAL,
        kind=MembershipKind.ONGOING,
        class_type_ids=[cycling.id],
        product=product["product"],
        centre_id=studio.id,
        acting=ACTING,
        at=at,
    )


async def api_keys(machine: Machine, member_id: UUID, at: datetime) -> None:
    """One key per role, written where the supervisor looks for them."""
    made: dict[str, str] = {}
    for role in Role:
        _, made[role.value.lower()] = await keys.create_api_key(
            name=role.value.lower().replace("_", " "),
            role=role,
            user_id=member_id if role is Role.MEMBER else None,
            acting=ACTING,
            at=at,
        )
    _, made["coursepro"] = await keys.create_api_key(
        name="coursepro", role=Role.PARTNER, purpose=KeyPurpose.COURSEPRO, acting=ACTING, at=at
    )
    write_private(machine.keys_file, json.dumps(made, indent=2))


async def keys_open_this(machine: Machine, at: datetime) -> bool:
    """Whether the keys written down are keys of this database, and not of another one used here before."""
    if not machine.keys_file.exists():
        return False
    tokens: dict[str, str] = json.loads(machine.keys_file.read_text())
    return all([await keys.find_api_key(token, at=at) is not None for token in tokens.values()])


async def main() -> None:
    """Write what is missing."""
    machine = Machine(
        Vault(os.environ["DUEFLOW_SECRET_KEY"]),
        json.loads(Path(os.environ["DUEFLOW_SANDBOX_CONFIG"]).read_text()),  # noqa: ASYNC240  # nothing else runs yet
        Path(os.environ["DUEFLOW_RUN_KEYS"]),
    )
    async with opened(os.environ["DATABASE_URL"]):
        at = await machine.now()
        await providers(machine, at)  # ports may be new ones after a restart
        if not await Centre.exists():
            member_id = await swimming_school(machine, at)
            await clinic(machine, at)
            await api_keys(machine, member_id, at)
            print("demo data written")
        elif not await keys_open_this(machine, at):
            # the keys of a database that was here before: made anew, the old ones end
            await ApiKey.filter(revoked_at__isnull=True).update(revoked_at=at)
            member = await ApiKey.filter(role=Role.MEMBER).order_by("id").first()
            assert member is not None
            assert member.user_id is not None
            await api_keys(machine, member.user_id, at)
            print("API keys made anew")
        else:
            print("demo data is there")


if __name__ == "__main__":
    asyncio.run(main())
