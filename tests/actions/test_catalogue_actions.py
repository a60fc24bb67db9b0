"""What can be sold, to whom, and by which keys: each refusal leaves nothing, and secrets stay secret."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from cryptography.fernet import Fernet
from tortoise.exceptions import IntegrityError

from models.actions import catalogue, courses, keys, settings, users
from models.actions.vault import SealBroken, Vault
from models.rules.booking import Pricing
from models.rules.pricing import Frequency, Integration, Level, MembershipKind, OptionType
from models.rules.refusals import Code
from models.rules.states import KeyPurpose, Provider, Role
from models.tables.centre import Centre
from models.tables.membership import PaymentOption
from models.tables.pricing import PriceOverride
from models.tables.row import new_id
from models.tables.setting import ApiKey
from models.tables.user import ExternalLink, UserField
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    a_centre,
    a_name,
    a_user,
    an_option,
    happening,
    nothing_written,
    refused,
    sql,
)

pytestmark = pytest.mark.usefixtures("database")
TODAY = NOW.date()
WHO: dict[str, Any] = {"acting": BY, "at": NOW}


# -- centres and prices -----------------------------------------------------------------------------------------------


async def test_a_centre_has_a_known_zone_and_currency_and_a_name_of_its_own() -> None:
    centre = await a_centre()
    async with refused(Code.INVALID_INPUT, "zone"):
        await catalogue.create_centre(name=a_name("c"), zone="Mars/Olympus", currency="GBP", **WHO)
    async with refused(Code.INVALID_INPUT, "zone"):
        await catalogue.create_centre(name=a_name("c"), zone="../etc/passwd", currency="GBP", **WHO)
    async with refused(Code.INVALID_INPUT, "currency"):
        await catalogue.create_centre(name=a_name("c"), zone="Europe/London", currency="gbp", **WHO)
    async with refused(Code.INVALID_INPUT, "name"):
        await catalogue.create_centre(name=centre.name, zone="Europe/London", currency="GBP", **WHO)
    async with refused(Code.NOT_FOUND, "settingGroupId"):
        await a_centre(setting_group_id=new_id())
    group = await catalogue.create_setting_group(name=a_name("g"), **WHO)
    async with refused(Code.INVALID_INPUT, "name"):
        await catalogue.create_setting_group(name=group.name, **WHO)


async def test_a_place_of_the_practice_is_one_centre() -> None:
    taken = a_name("loc")
    await a_centre(practice_location=taken)
    async with refused(Code.INVALID_INPUT, "practiceLocation"):
        await a_centre(practice_location=taken)


async def test_a_fee_is_zero_or_more() -> None:
    """R22."""
    assert (await an_option(0)).amount == 0
    async with refused(Code.NEGATIVE_AMOUNT, "amount"):
        await an_option(-1)
    async with refused(Code.INVALID_INPUT, "currency"):
        await an_option(currency="XXX")


async def test_the_nearest_price_wins() -> None:
    """R24-R26."""
    option = await an_option(80_00)
    group = await catalogue.create_setting_group(name=a_name("g"), **WHO)
    centre = await a_centre(setting_group_id=group.id)

    async def price(on: date = TODAY) -> tuple[int, Level]:
        _, amount, level = await catalogue.price_at(option.id, centre_id=centre.id, on=on)
        return amount, level

    scope = {"pricing_option_id": option.id, **WHO}
    assert await price() == (80_00, Level.BASE)
    await catalogue.set_price_override(**scope, amount=70_00, setting_group_id=group.id)
    assert await price() == (70_00, Level.SETTING_GROUP)
    first = await catalogue.set_price_override(**scope, amount=60_00, centre_id=centre.id, effective_from=TODAY + DAY)
    assert await price() == (70_00, Level.SETTING_GROUP)
    assert await price(TODAY + DAY) == (60_00, Level.CENTRE)
    async with happening() as seen:
        again = await catalogue.set_price_override(
            **scope, amount=65_00, centre_id=centre.id, effective_from=TODAY + DAY
        )
    assert again.id == first.id, "the same scope and first day is set anew"
    assert (seen.audit[0].before, seen.audit[0].after) == (
        {"amount": 60_00, "effective_until": None},
        {"amount": 65_00},
    )
    async with refused(Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"):
        await catalogue.price_at(new_id(), centre_id=centre.id, on=TODAY)
    async with refused(Code.NOT_FOUND, "centreId"):
        await catalogue.price_at(option.id, centre_id=new_id(), on=TODAY)


async def test_an_override_is_for_one_scope_at_one_price() -> None:
    option, centre, euro = await an_option(), await a_centre(), await a_centre("EUR")
    group = await catalogue.create_setting_group(name=a_name("g"), **WHO)
    both: dict[str, Any] = {"centre_id": centre.id, "setting_group_id": group.id}
    in_order = {"centre_id": centre.id, "effective_from": TODAY, "effective_until": TODAY}
    table: list[tuple[dict[str, Any], Code, str]] = [
        ({"amount": -1, "centre_id": centre.id}, Code.NEGATIVE_AMOUNT, "amount"),
        ({}, Code.INVALID_INPUT, "centreId"),
        (both, Code.INVALID_INPUT, "centreId"),
        (in_order, Code.INVALID_INPUT, "effectiveUntil"),
        ({"centre_id": new_id()}, Code.NOT_FOUND, "centreId"),
        ({"setting_group_id": new_id()}, Code.NOT_FOUND, "settingGroupId"),
        ({"centre_id": euro.id}, Code.CURRENCY_MISMATCH, "centreId"),
        ({"pricing_option_id": new_id(), "centre_id": centre.id}, Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"),
    ]
    for changes, code, field in table:
        async with refused(code, field):
            await catalogue.set_price_override(**{"pricing_option_id": option.id, "amount": 1, **changes, **WHO})
    for wrong in (both, {"centre_id": centre.id, "amount": -1}):
        async with nothing_written():
            with pytest.raises(IntegrityError):
                await PriceOverride.create(**{"pricing_option_id": option.id, "amount": 1, **wrong})


# -- membership types -------------------------------------------------------------------------------------------------


async def a_type(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "name": a_name("Type"),
        "integration": Integration.COURSEPRO_COURSE,
        "kind": MembershipKind.ONGOING,
    }
    return await catalogue.create_membership_type(**{**values, **changes, **WHO})


async def test_a_coursepro_membership_takes_one_payment_option_and_others_many() -> None:
    """R29: refused by the action, and by the database itself."""
    monthly = [(await an_option(frequency=Frequency.RECURRING)).id for _ in range(2)]
    async with refused(Code.ONE_PAYMENT_OPTION_ONLY):
        await a_type(pricing_option_ids=monthly)
    other = await a_type(pricing_option_ids=monthly, integration=Integration.NONE)
    assert await PaymentOption.filter(membership_type_id=other.id).count() == 2
    one = await a_type(pricing_option_ids=monthly[:1])
    async with nothing_written():
        with pytest.raises(IntegrityError, match="payment_option_single_for_coursepro"):
            await PaymentOption.create(membership_type_id=one.id, pricing_option_id=monthly[1], coursepro=True)


async def test_a_membership_type_fits_its_options_or_is_not_made() -> None:
    monthly = (await an_option(frequency=Frequency.RECURRING)).id
    standard = (await an_option(frequency=Frequency.RECURRING, option_type=OptionType.STANDARD)).id
    once, centre = (await an_option()).id, await a_centre()
    fixed, sessions = MembershipKind.FIXED_TERM, MembershipKind.SESSIONS
    product = a_name("prod")
    await a_type(product=product, centre_id=centre.id, integration=Integration.NOOKAL)
    table: list[tuple[dict[str, Any], Code, tuple[str, ...]]] = [
        ({"pricing_option_ids": [new_id()]}, Code.UNKNOWN_PRICING_OPTION, ("pricingOptionIds",)),
        ({"pricing_option_ids": [standard]}, Code.PRICING_OPTION_NOT_COURSEPRO, ("pricingOptionId",)),
        ({"pricing_option_ids": [once]}, Code.FREQUENCY_DOES_NOT_FIT, ("frequency",)),
        ({"pricing_option_ids": [monthly], "kind": fixed}, Code.FREQUENCY_DOES_NOT_FIT, ("frequency",)),
        ({"term_months": 3}, Code.INVALID_INPUT, ("termMonths",)),
        ({"kind": sessions}, Code.INVALID_INPUT, ("sessions",)),
        ({"kind": sessions, "sessions": 0}, Code.INVALID_INPUT, ("sessions",)),
        ({"sessions": 5}, Code.INVALID_INPUT, ("sessions",)),
        ({"kind": fixed, "term_months": -1}, Code.INVALID_INPUT, ("termMonths",)),
        ({"product": a_name("prod")}, Code.INVALID_INPUT, ("centreId",)),
        ({"product": product, "centre_id": centre.id}, Code.PRODUCT_IN_USE, ("product",)),
        ({"centre_id": new_id()}, Code.NOT_FOUND, ("centreId",)),
        ({"class_type_ids": [new_id()]}, Code.NOT_FOUND, ("classTypeIds",)),
        ({"kind": fixed, "term_months": 0}, Code.INVALID_INPUT, ("termMonths",)),
        ({}, Code.INVALID_INPUT, ("pricingOptionIds",)),
    ]
    for changes, code, field in table:
        async with refused(code, *field):
            await a_type(**changes)
    assert (await a_type(kind=fixed, pricing_option_ids=[once])).term_months == 3
    named_twice = await a_type(pricing_option_ids=[monthly, monthly])
    assert await PaymentOption.filter(membership_type_id=named_twice.id).count() == 1


async def test_a_class_of_the_practice_is_named_once() -> None:
    practice_id = a_name("ct")
    await catalogue.create_class_type(name="Pilates", practice_id=practice_id, **WHO)
    async with refused(Code.INVALID_INPUT, "practiceId"):
        await catalogue.create_class_type(name="Pilates", practice_id=practice_id, **WHO)


async def test_a_course_is_offered_whole_or_not_at_all() -> None:
    centre, option, euro = await a_centre(), await an_option(), await an_option(currency="EUR")
    good: dict[str, Any] = {
        "name": "Swim",
        "centre_id": centre.id,
        "pricing_option_id": option.id,
        "pricing": Pricing.FULL_RATE,
        "capacity": 8,
        "sessions": [(NOW, NOW + HOUR), (NOW + DAY, NOW + DAY + HOUR)],
    }
    backwards = [(NOW, NOW + HOUR), (NOW + DAY, NOW + DAY)]
    table: list[tuple[dict[str, Any], Code, tuple[str, ...]]] = [
        ({"capacity": 0}, Code.INVALID_INPUT, ("capacity",)),
        ({"sessions": []}, Code.INVALID_INPUT, ("sessions",)),
        ({"sessions": backwards}, Code.INVALID_INPUT, ("sessions", "1")),
        ({"centre_id": new_id()}, Code.NOT_FOUND, ("centreId",)),
        ({"pricing_option_id": new_id()}, Code.UNKNOWN_PRICING_OPTION, ("pricingOptionId",)),
        ({"pricing_option_id": euro.id}, Code.CURRENCY_MISMATCH, ("pricingOptionId",)),
        ({"class_type_id": new_id()}, Code.NOT_FOUND, ("classTypeId",)),
    ]
    for changes, code, field in table:
        async with refused(code, *field):
            await courses.create_course(**{**good, **changes, **WHO})
    course = await courses.create_course(**good, **WHO)
    assert await course.sessions.all().count() == 2  # type: ignore[attr-defined]  # the reverse side of a relation


# -- users and links --------------------------------------------------------------------------------------------------


async def test_a_person_has_a_name_an_address_and_the_fields_that_are_asked_for() -> None:
    required = await UserField.create(name=a_name("school"), label="School", required=True)
    good: dict[str, Any] = {
        "first_name": " Ada ",
        "last_name": "Reader",
        "email": "Ada.Reader@Example.test",
        "fields": {required.name: "Hill"},
    }
    table: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"first_name": "  "}, ("firstName",)),
        ({"last_name": ""}, ("lastName",)),
        *(({"email": wrong}, ("email",)) for wrong in ("", "ada", "@example.test", "ada@", "a@b@c", "a da@b.test")),
        ({"fields": {required.name: "Hill", "shoe": 38}}, ("fields", "shoe")),
        ({"fields": {}}, ("fields", required.name)),
        ({"fields": {required.name: ""}}, ("fields", required.name)),
    ]
    for changes, field in table:
        async with refused(Code.INVALID_INPUT, *field):
            await users.create_user(**{**good, **changes, **WHO})
    async with happening() as seen:
        user = await users.create_user(**good, **WHO)
    assert (user.first_name, user.email, user.email_key) == (
        "Ada",
        "Ada.Reader@Example.test",
        "ada.reader@example.test",
    )
    assert seen.audit[0].after == {"fields": [required.name]}, "what they hold is not copied into the audit"
    await UserField.all().delete()


async def test_a_record_elsewhere_is_one_users_and_a_user_has_one_there() -> None:
    ada, eve = await a_user(), await a_user()
    tie: dict[str, Any] = {"provider": Provider.STRIPE, "kind": "customer", **WHO}
    link = await users.link_external(user_id=ada.id, external_id="cus_ada", **tie)
    async with nothing_written():
        assert (await users.link_external(user_id=ada.id, external_id="cus_ada", **tie)).id == link.id
    async with refused(Code.INVALID_INPUT, "externalId"):
        await users.link_external(user_id=eve.id, external_id="cus_ada", **tie)
    async with refused(Code.INVALID_INPUT, "externalId"):
        await users.link_external(user_id=ada.id, external_id="cus_other", **tie)
    async with refused(Code.NOT_FOUND, "userId"):
        await users.link_external(user_id=new_id(), external_id="cus_x", **tie)
    assert await users.user_of(Provider.STRIPE, "customer", "cus_ada") == ada.id
    assert await users.linked(ada.id, Provider.STRIPE, "customer") == "cus_ada"
    await ExternalLink.filter(id=link.id).update(state="UNLINKED")
    assert await users.user_of(Provider.STRIPE, "customer", "cus_ada") is None
    assert (await users.link_external(user_id=eve.id, external_id="cus_ada", **tie)).user_id == eve.id


# -- how providers are reached ----------------------------------------------------------------------------------------


@pytest.fixture
def vault(secret_key: str) -> Vault:
    return Vault(secret_key)


async def configured(vault: Vault, secrets: dict[str, str], provider: Provider = Provider.STRIPE, **given: Any) -> Any:
    return await settings.configure_provider(
        provider, settings=given, secrets=secrets, enabled=True, vault=vault, **WHO
    )


async def test_a_provider_needs_its_secrets_once_and_none_may_be_blank(vault: Vault) -> None:
    async with refused(Code.SECRET_REQUIRED, "secrets", "webhook_secret"):
        await configured(vault, {"api_key": "sk_test_abcdefgh1234"})
    async with refused(Code.SECRET_REQUIRED, "secrets", "api_key"):
        await configured(vault, {"api_key": "  ", "webhook_secret": "whsec_1"})
    async with refused(Code.INVALID_INPUT, "settings", "account_code"):
        await configured(vault, {"client_secret": "x"}, Provider.XERO, client_id="1", tenant_id="2")


async def test_secrets_are_sealed_hinted_and_rotated(vault: Vault, secret_key: str) -> None:
    first = {"api_key": "sk_test_abcdefgh1234", "webhook_secret": "whsec_first_9876"}
    async with happening() as seen:
        row = await configured(vault, first, api_base="https://api.stripe.com")
    assert vault.open(row.secrets) == first
    assert row.hints == {"api_key": "…1234", "webhook_secret": "…9876"}
    assert seen.audit[0].after == {
        "settings": {"api_base": "https://api.stripe.com"},
        "enabled": True,
        "secrets": ["api_key", "webhook_secret"],
    }
    row = await configured(vault, {"webhook_secret": "whsec_second_5555"})
    assert (row.version, vault.open(row.secrets)) == (
        2,
        {
            "api_key": "sk_test_abcdefgh1234",
            "webhook_secret": "whsec_second_5555",
            "previous_webhook_secret": "whsec_first_9876",
        },
    )
    row = await configured(vault, {"webhook_secret": "whsec_second_5555"})
    assert vault.open(row.secrets)["previous_webhook_secret"] == "whsec_first_9876", "given again is no rotation"
    row = await configured(vault, {"api_key": "sk_test_another_4321"})
    assert vault.open(row.secrets)["api_key"] == "sk_test_another_4321"
    assert "previous_api_key" not in vault.open(row.secrets)

    everywhere = await sql(
        "SELECT p::text || coalesce((SELECT string_agg(a::text, '') FROM audit_entry a), '')"
        " || coalesce((SELECT string_agg(j::text, '') FROM job j), '') AS text FROM provider_setting p"
    )
    for secret in ("sk_test_abcdefgh1234", "sk_test_another_4321", "whsec_first_9876", "whsec_second_5555"):
        assert secret not in everywhere[0]["text"]
    with pytest.raises(SealBroken):
        Vault(Fernet.generate_key().decode()).open(row.secrets)
    rotated = Vault(f"{Fernet.generate_key().decode()}, {secret_key}")
    assert rotated.open(row.secrets) == vault.open(row.secrets), "an older key still opens"


@pytest.mark.parametrize("keys_given", ["", " , ", "not-a-key"])
def test_a_vault_needs_a_key(keys_given: str) -> None:
    with pytest.raises(ValueError):
        Vault(keys_given)


async def test_the_clock_only_moves_forward() -> None:
    for to in (NOW, NOW - DAY):
        async with refused(Code.CLOCK_ONLY_FORWARD, "to"):
            await settings.advance_clock(to, **WHO)
    now = datetime.now(UTC)
    async with happening() as seen:
        await settings.advance_clock(now + DAY, acting=BY, at=now)
    assert 86_395 <= await settings.clock_offset() <= 86_400
    assert seen.kinds == ["sandbox.move_clock"]


# -- keys -------------------------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_found_by_its_whole_token() -> None:
    async with happening() as seen:
        row, token = await keys.create_api_key(
            name="Desk", role=Role.FRONT_DESK, purpose=KeyPurpose.API, scopes=["money:read"], **WHO
        )
    found = await keys.find_api_key(token, at=NOW)
    assert found is not None
    assert (found.id, found.role, found.scopes) == (row.id, Role.FRONT_DESK, ["money:read"])
    secret = token.split("_", 2)[2]
    stored = await sql("SELECT k::text AS text FROM api_key k WHERE id = $1", row.id)
    assert secret not in stored[0]["text"]
    assert all(secret not in str(entry.after) for entry in seen.audit)
    public = row.public_part
    for wrong in (
        "",
        "df",
        "df__",
        token[:-1],
        token + "x",
        f"df_{public}_",
        f"df_{public}_{secret[::-1]}",
        f"xx_{public}_{secret}",
        f"df_{'0' * 12}_{secret}",
        token.replace("df_", "dƒ_"),
        f"{token}\x00",
        "df_" + "é" * 5 + "_x",
        "df_" + "0" * 100_000 + "_x",
    ):
        assert await keys.find_api_key(wrong, at=NOW) is None, wrong[:40]


async def test_a_key_ends_at_its_hour_or_when_it_is_revoked() -> None:
    row, token = await keys.create_api_key(name="Short", role=Role.ADMIN, expires_at=NOW + HOUR, **WHO)
    assert await keys.find_api_key(token, at=NOW + HOUR / 2) is not None
    assert await keys.find_api_key(token, at=NOW + HOUR) is None
    async with happening() as seen:
        await keys.revoke_api_key(row.id, acting="key:admin", at=NOW)
    assert seen.verbs == ["revoke_api_key"]
    assert await keys.find_api_key(token, at=NOW) is None
    async with nothing_written():
        await keys.revoke_api_key(row.id, acting=BY, at=NOW + DAY)
    assert (await ApiKey.get(id=row.id)).revoked_at == NOW
    async with refused(Code.NOT_FOUND, "keyId"):
        await keys.revoke_api_key(new_id(), acting=BY, at=NOW)


async def test_a_members_key_belongs_to_a_member() -> None:
    async with refused(Code.INVALID_INPUT, "userId"):
        await keys.create_api_key(name="x", role=Role.MEMBER, **WHO)
    async with refused(Code.NOT_FOUND, "userId"):
        await keys.create_api_key(name="x", role=Role.MEMBER, user_id=new_id(), **WHO)
    async with refused(Code.INVALID_INPUT, "expiresAt"):
        await keys.create_api_key(name="x", role=Role.ADMIN, expires_at=NOW, **WHO)
    with pytest.raises(IntegrityError, match="api_key_member_has_user"):
        await ApiKey.create(name="x", public_part="x", secret_hash="x", role=Role.MEMBER)
    user = await a_user()
    _, token = await keys.create_api_key(name="x", role=Role.MEMBER, user_id=user.id, **WHO)
    found = await keys.find_api_key(token, at=NOW)
    assert found is not None
    assert found.user_id == user.id
    assert await Centre.all().count() > 0
