"""Section F of the CoursePro document, the checklist of going live, and the trial purchases that prove it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from integrations.coursepro.webhook import CourseProCalls
from models.actions import keys, probes, settings
from models.actions.coursepro_setup import configure_coursepro
from models.actions.readiness import readiness
from models.actions.vault import Vault
from models.rules.lifecycle import Status
from models.rules.pricing import Frequency, MembershipKind, OptionType
from models.rules.readiness import Found, Item, Run, Sold, Standing, Step, checklist, may_sync
from models.rules.refusals import Code, Refusal
from models.rules.states import JobState, KeyPurpose, Probe, Provider, Role
from models.tables.coursepro import CourseMapping, ProbeRun
from models.tables.job import Job
from models.tables.membership import Membership, PaymentOption
from models.tables.setting import ApiKey, ProviderSetting
from models.tables.user import ExternalLink
from tests.build import BY, DAY, NOW, a_centre, a_membership, a_membership_type, a_user, happening, refused, sql

pytestmark = pytest.mark.usefixtures("database")
WHO: dict[str, Any] = {"acting": BY, "at": NOW}
TOKEN, NEXT, THIRD = "cpst_first_token_1111", "cpst_second_token_2222", "cpst_third_token_3333"
CART, SYNC = "https://coursepro.example.org/cart-complete", "https://coursepro.example.org/user-sync"
FOUR: dict[str, Any] = {"client_id": "club-7", "cart_complete_url": CART, "secret_token": TOKEN, "user_sync_url": SYNC}


@pytest.fixture
async def vault(secret_key: str) -> Vault:
    """Nothing configured yet."""
    await ProviderSetting.all().delete()
    await Job.filter(kind="courses.sync_users").delete()
    return Vault(secret_key)


async def submit(vault: Vault, *, sync: bool = False, **given: Any) -> ProviderSetting:
    """Press the button."""
    return await configure_coursepro(user_sync_enabled=sync, vault=vault, **given, **WHO)


# -- F: the five fields -----------------------------------------------------------------------------------------------


async def test_the_five_fields_are_kept_the_token_sealed_and_shown_by_its_last_four(vault: Vault) -> None:
    async with happening() as seen:
        row = await submit(vault, **FOUR)
    assert (row.provider, row.enabled, row.hints) == (Provider.COURSEPRO, True, {"secret_token": "…1111"})
    assert row.settings == {
        "client_id": "club-7", "cart_complete_url": CART, "user_sync_url": SYNC, "user_sync_enabled": False,
    }  # fmt: skip
    assert (seen.verbs, seen.kinds) == (["configure_coursepro"], [])
    assert seen.audit[0].after == {"settings": row.settings, "secrets": ["secret_token"]}
    rows = "SELECT p::text AS t FROM provider_setting p UNION ALL SELECT a::text FROM audit_entry a"
    assert not any(TOKEN in row["t"] for row in await sql(rows))


async def test_what_is_left_out_stays_and_the_switch_may_be_changed_alone(vault: Vault) -> None:
    await submit(vault, **FOUR)
    row = await submit(vault, client_id="club-8")
    assert (row.settings["client_id"], row.settings["user_sync_url"], row.version) == ("club-8", SYNC, 2)
    assert vault.open(row.secrets) == {"secret_token": TOKEN}
    row = await submit(vault, sync=True)
    assert (row.settings["user_sync_enabled"], row.settings["client_id"]) == (True, "club-8")


def accepts(vault: Vault, row: ProviderSetting, token: str) -> bool:
    """Whether a call signed with a token is CoursePro's, as the registry opens the row."""
    secrets = vault.open(row.secrets)
    valid = [secrets[name] for name in ("secret_token", "previous_secret_token") if name in secrets]
    return token.encode() in CourseProCalls(valid, "club")._secrets


async def test_a_token_is_rotated_with_overlap_until_the_next_change(vault: Vault) -> None:
    row = await submit(vault, **FOUR)
    row = await submit(vault, secret_token=NEXT)
    assert vault.open(row.secrets)["secret_token"] == NEXT, "sent from now on"
    assert [accepts(vault, row, token) for token in (TOKEN, NEXT)] == [True, True]
    row = await submit(vault, secret_token=NEXT)
    assert [accepts(vault, row, token) for token in (TOKEN, NEXT)] == [True, True], "given again is no change"
    row = await submit(vault, secret_token=THIRD)
    assert [accepts(vault, row, token) for token in (TOKEN, NEXT, THIRD)] == [False, True, True]
    assert row.hints == {"secret_token": "…3333", "previous_secret_token": "…2222"}


@pytest.mark.parametrize("left_out", FOUR)
async def test_the_sync_is_not_switched_on_before_all_credentials_are_there(vault: Vault, left_out: str) -> None:
    given = {name: value for name, value in FOUR.items() if name != left_out}
    first, *rest = left_out.split("_")
    async with refused(Code.CREDENTIALS_INCOMPLETE, first + "".join(word.title() for word in rest)):
        await submit(vault, sync=True, **given)
    row = await submit(vault, **given)
    assert not row.enabled, "CoursePro is not called before all of it is there"
    row = await submit(vault, sync=True, **{left_out: FOUR[left_out]})
    assert row.enabled


async def test_switching_it_on_tells_what_changed_while_it_was_off_and_once(vault: Vault) -> None:
    async with happening() as seen:
        await submit(vault, **FOUR)
        await submit(vault, sync=True)
        await submit(vault, sync=True, client_id="club-9")
        await submit(vault)
        await submit(vault, sync=True)
    assert seen.kinds == ["courses.sync_users"] * 2
    assert [job.key for job in seen.jobs] == ["courses.sync_users:2", "courses.sync_users:5"]


@pytest.mark.parametrize("field", ["cart_complete_url", "user_sync_url"])
async def test_an_inside_address_is_refused_with_all_that_came_with_it(vault: Vault, field: str) -> None:
    word = {"cart_complete_url": "cartCompleteUrl", "user_sync_url": "userSyncUrl"}[field]
    for address in ("http://coursepro.example.org/", "https://192.168.1.9/", "http://127.0.0.1:8025/x"):
        async with refused(Code.ADDRESS_NOT_ALLOWED, word):
            await submit(vault, **{**FOUR, field: address})
    row = await submit(vault, **{**FOUR, field: "http://127.0.0.1:8025/x"}, local=True)
    assert row.settings[field] == "http://127.0.0.1:8025/x", "where the sandbox runs"
    async with refused(Code.ADDRESS_NOT_ALLOWED, word):
        await submit(vault, sync=True)  # the row of one machine, on another
    async with refused(Code.SECRET_REQUIRED, "secretToken"):
        await submit(vault, **{**FOUR, "secret_token": "  "})


async def test_the_other_mutation_obeys_the_same_rules_and_leaves_the_switch_alone(vault: Vault) -> None:
    def configured(enabled: bool = True, **changed: Any) -> Any:
        given: dict[str, Any] = {"client_id": "c", "cart_complete_url": CART, "user_sync_url": SYNC, **changed}
        secrets = {"secret_token": TOKEN}
        return settings.configure_provider(
            Provider.COURSEPRO, settings=given, secrets=secrets, enabled=enabled, vault=vault, **WHO
        )

    for name, address in (("user_sync_url", "https://10.1.1.1/"), ("cart_complete_url", "https://a.local/")):
        async with refused(Code.ADDRESS_NOT_ALLOWED, "settings", name):
            inside: Any = {name: address}
            await configured(**inside)
    async with refused(Code.INVALID_INPUT, "settings", "user_sync_enabled"):
        await configured(user_sync_enabled="true")
    await submit(vault, sync=True, **FOUR)
    row = await configured(enabled=False)
    assert (row.settings["user_sync_enabled"], row.settings["client_id"], row.enabled) == (True, "c", False)
    row = await submit(vault, sync=True, client_id="d")
    assert not row.enabled, "who switched the provider off switches it on"
    for provider, name in ((Provider.STRIPE, "api_base"), (Provider.XERO, "identity_base")):
        with pytest.raises(Refusal) as no:
            await settings.configure_provider(
                provider,
                settings={"client_id": "c", "tenant_id": "t", "account_code": "2", name: "https://proxy.internal"},
                secrets={}, enabled=True, vault=vault, **WHO,
            )  # fmt: skip
        assert (no.value.code, no.value.field) == (Code.ADDRESS_NOT_ALLOWED, ("settings", name))


# -- the checklist ----------------------------------------------------------------------------------------------------


def states(items: tuple[Item, ...]) -> dict[Step, Standing]:
    return {item.step: item.state for item in items}


def evidence(items: tuple[Item, ...], step: Step) -> dict[str, str | None]:
    return dict(next(item for item in items if item.step is step).evidence)


async def test_the_checklist_from_nothing_to_live(vault: Vault) -> None:
    """The document's steps in its order, each as the rows say."""
    await ApiKey.all().delete()
    items = await readiness(NOW)
    assert [(item.step.name, item.because) for item in items] == [
        ("PRICES_AND_MEMBERSHIPS", "R76"),
        ("COURSES_MAPPED", "R77"),
        ("BOUGHT_THERE", "R78"),
        ("CREDENTIALS", "R79"),
        ("BOUGHT_HERE", "R80"),
        ("COURSES_SET_UP", "R81"),
        ("USER_SYNC", "R73"),
    ]
    missing = dict.fromkeys(Step, Standing.MISSING) | {Step.COURSES_SET_UP: Standing.EXTERNAL}
    assert (states(items), may_sync(items)) == (missing, False)
    assert evidence(items, Step.CREDENTIALS) == {**dict.fromkeys(FOUR, "missing"), "API key": "missing"}

    kind, option = await a_membership_type()
    assert states(await readiness(NOW))[Step.PRICES_AND_MEMBERSHIPS] is Standing.DONE
    centre = await a_centre()
    mapping = await CourseMapping.create(
        course_ref="SWIM-1", pricing_option_id=option.id, membership_type_id=kind.id, centre_id=centre.id
    )
    assert states(await readiness(NOW))[Step.COURSES_MAPPED] is Standing.WARNING, "no cart used it yet"
    await CourseMapping.filter(id=mapping.id).update(verified_at=NOW)
    items = await readiness(NOW)
    assert states(items)[Step.COURSES_MAPPED] is Standing.DONE
    assert list(evidence(items, Step.COURSES_MAPPED).values()) == ["1", "1", "0", "0"]

    await submit(vault, **FOUR)
    assert not may_sync(await readiness(NOW)), "CoursePro has no key of ours yet"
    key, _ = await keys.create_api_key(
        name="coursepro", role=Role.PARTNER, purpose=KeyPurpose.COURSEPRO, expires_at=NOW + 31 * DAY, **WHO
    )
    items = await readiness(NOW)
    assert (states(items)[Step.CREDENTIALS], may_sync(items)) == (Standing.DONE, True)
    assert evidence(items, Step.CREDENTIALS) == {
        "API key 'coursepro'": (NOW + 31 * DAY).isoformat(), "switched on": "true",
    }  # fmt: skip
    assert states(await readiness(NOW + DAY))[Step.CREDENTIALS] is Standing.WARNING, "it ends within thirty days"
    assert states(await readiness(NOW + 31 * DAY))[Step.CREDENTIALS] is Standing.MISSING, "it ended"
    assert states(items)[Step.USER_SYNC] is Standing.WARNING, "all is there, and it is off"
    await submit(vault, sync=True)
    assert states(await readiness(NOW))[Step.USER_SYNC] is Standing.DONE, "trials not made yet do not forbid it"
    await keys.revoke_api_key(key.id, **WHO)
    assert not may_sync(await readiness(NOW))

    await PaymentOption.filter(membership_type_id=kind.id).delete()
    items = await readiness(NOW)
    assert states(items)[Step.PRICES_AND_MEMBERSHIPS] is Standing.MISSING
    assert evidence(items, Step.PRICES_AND_MEMBERSHIPS)[kind.name] == "it has 0 prices, not one"
    assert evidence(items, Step.COURSES_MAPPED)["of these at a price their membership no longer has"] == "1"


COURSE, OTHER = OptionType.COURSEPRO_COURSE, OptionType.STANDARD
MONTHLY, ONCE = Frequency.RECURRING, Frequency.FIXED


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (MembershipKind.ONGOING, [(COURSE, MONTHLY)], None),
        (MembershipKind.FIXED_TERM, [(COURSE, ONCE)], None),
        (MembershipKind.SESSIONS, [(COURSE, MONTHLY)], "a price is not fixed"),
        (MembershipKind.ONGOING, [(COURSE, MONTHLY), (COURSE, MONTHLY)], "it has 2 prices, not one"),
        (MembershipKind.ONGOING, [(OTHER, MONTHLY)], "a price is not of the type for CoursePro courses"),
    ],
)
def test_a_membership_that_cannot_be_sold_there_is_named(kind: MembershipKind, options: Any, said: str | None) -> None:
    good = Sold("Good", MembershipKind.ONGOING, ((COURSE, MONTHLY),))
    items = checklist(Found(sold=[good, Sold("Odd", kind, tuple(options))]), NOW)
    assert states(items)[Step.PRICES_AND_MEMBERSHIPS] is (Standing.WARNING if said else Standing.DONE)
    assert evidence(items, Step.PRICES_AND_MEMBERSHIPS).get("Odd") == said


def test_a_trial_that_went_wrong_warns_and_forbids_nothing() -> None:
    runs = {probe: Run(probe is Probe.BORN_HERE, NOW, {"user_id": "7", "our_price": 3200}) for probe in Probe}
    items = checklist(Found(runs=runs, keys=[("k", None)]), NOW)
    assert states(items)[Step.BOUGHT_THERE] is Standing.WARNING
    assert states(items)[Step.BOUGHT_HERE] is Standing.DONE
    assert evidence(items, Step.BOUGHT_HERE) == {"at": NOW.isoformat(), "user_id": "7", "our_price": "3200"}
    assert may_sync(items)


# -- the trial purchases ----------------------------------------------------------------------------------------------


async def bought_there(cart: str, *, later: timedelta = timedelta(0)) -> Membership:
    """Somebody who signed up in CoursePro and bought a course there."""
    user = await a_user()
    record: Any = {"provider": Provider.COURSEPRO, "kind": "user", "external_id": f"cp_{cart}"}
    link = await ExternalLink.create(user_id=user.id, **record)
    await ExternalLink.filter(id=link.id).update(created_at=user.created_at + later)
    membership = await a_membership(user)
    await Membership.filter(id=membership.id).update(cart_ref=cart)
    return await Membership.get(id=membership.id)


async def test_who_was_born_there_is_found_with_a_purchase_at_our_price() -> None:
    passed, told = await probes.look(Probe.BORN_THERE)
    assert (passed, list(told)) == (False, ["to do"])
    await bought_there("cart_old", later=timedelta(hours=1))  # known here before, so not born there
    assert not (await probes.look(Probe.BORN_THERE))[0]
    membership = await bought_there("cart_1")
    passed, told = await probes.look(Probe.BORN_THERE)
    assert passed
    assert told == {
        "membership_id": membership.id, "user_id": membership.user_id, "cart_ref": "cart_1", "amount": 3500,
        "currency": "GBP", "coursepro_id": "cp_cart_1", "our_price": 3500, "price_level": "BASE",
    }  # fmt: skip
    await Membership.filter(id=membership.id).update(amount=3400)
    passed, told = await probes.look(Probe.BORN_THERE)
    assert (passed, told["amount"], told["our_price"]) == (False, 3400, 3500)


async def test_who_bought_here_is_proven_by_the_job_that_told_coursepro() -> None:
    membership = await a_membership()
    assert membership.status is Status.ACTIVE
    passed, told = await probes.look(Probe.BORN_HERE)
    assert (passed, list(told)) == (False, ["to do"]), "written, not told yet"
    push = await Job.filter(kind="courses.push_membership").order_by("-id").first()
    assert push is not None
    await Job.filter(id=push.id).update(state=JobState.DONE, finished_at=NOW)
    passed, told = await probes.look(Probe.BORN_HERE)
    assert passed
    assert {name: told[name] for name in ("membership_id", "user_id", "job_id", "told_at")} == {
        "membership_id": membership.id, "user_id": membership.user_id, "job_id": push.id, "told_at": NOW,
    }  # fmt: skip


async def test_a_run_is_asked_for_by_a_job_and_kept_once_under_its_id() -> None:
    async with happening() as seen:
        job = await probes.run_probe(Probe.BORN_HERE, **WHO)
    assert (seen.kinds, seen.verbs) == (["courses.probe"], ["run_integration_probe"])
    assert (job.payload, job.subject) == ({"probe": "BORN_HERE"}, "courses.probe:BORN_HERE")
    found = {"membership_id": UUID(int=7), "amount": 3500, "told_at": NOW, "coursepro_id": None}
    for evidence_seen in (found, {"membership_id": UUID(int=8)}):
        await probes.record(job.id, Probe.BORN_HERE, passed=True, evidence=evidence_seen, **WHO)
    (run,) = await ProbeRun.filter(id=job.id)
    assert run.evidence == {
        "membership_id": str(UUID(int=7)), "amount": 3500, "told_at": str(NOW), "coursepro_id": None,
    }  # fmt: skip
    assert states(await readiness(NOW))[Step.BOUGHT_HERE] is Standing.DONE
    again = await probes.run_probe(Probe.BORN_HERE, **WHO)
    await probes.record(again.id, Probe.BORN_HERE, passed=False, evidence={"to do": "x"}, **WHO)
    items = await readiness(NOW)
    assert (states(items)[Step.BOUGHT_HERE], evidence(items, Step.BOUGHT_HERE)["to do"]) == (Standing.WARNING, "x")


async def test_what_the_sandbox_is_to_buy() -> None:
    await CourseMapping.all().delete()
    assert await probes.order_there(NOW) is None
    kind, option = await a_membership_type()
    centre = await a_centre()
    mapped: Any = {"pricing_option_id": option.id, "membership_type_id": kind.id, "centre_id": centre.id}
    await CourseMapping.create(course_ref="SWIM-9", **mapped)
    order = await probes.order_there(NOW)
    assert order is not None
    assert order.item == {
        "course_ref": "SWIM-9", "pricing_option_id": str(option.id), "centre_id": str(centre.id),
        "start_date": "2026-03-02",
    }  # fmt: skip
    assert order.fields["first_name"] == "Probe"
