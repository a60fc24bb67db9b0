"""Which providers are there, by what stands in the database."""

from collections.abc import AsyncIterator

import pytest
from tortoise import Tortoise

import app
from integrations import registry as module
from integrations.coursepro.client import CoursePro
from integrations.gocardless.client import DirectDebits
from integrations.mail import Mail
from integrations.nookal.client import Nookal
from integrations.registry import Registry
from integrations.stripe.client import StripeAccount
from integrations.xero.client import Xero
from models.actions.settings import BlankSecret, refuse_blank
from models.actions.vault import Vault
from models.ports import Refused
from models.rules.states import Provider
from models.tables.config import tortoise_config
from models.tables.setting import ProviderSetting
from tests.integrations.conftest import Sandbox, StoppedClock, an_order

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
    pytest.mark.usefixtures("database"),
]


@pytest.fixture
async def vault(secret_key: str) -> AsyncIterator[Vault]:
    yield Vault(secret_key)
    await ProviderSetting.all().delete()


@pytest.fixture
async def registry(vault: Vault, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Registry]:
    """A registry that reads its rows again every time."""
    monkeypatch.setattr(module, "READ_AGAIN_SECONDS", 0.0)
    monkeypatch.delenv("SMTP_URL", raising=False)
    made = Registry(vault, None, clock=clock)
    yield made
    await made.close()


SETTINGS = {
    Provider.STRIPE: ({}, {"api_key": "sk_test_1", "webhook_secret": "whsec_1"}),
    Provider.GOCARDLESS: ({}, {"access_token": "t", "webhook_secret": "s"}),
    Provider.COURSEPRO: (
        {"client_id": "c", "user_sync_url": "http://127.0.0.1:1/u", "cart_complete_url": "http://127.0.0.1:1/c"},
        {"secret_token": "s"},
    ),
    Provider.NOOKAL: ({}, {"api_key": "k"}),
    Provider.XERO: ({"client_id": "c", "tenant_id": "t", "account_code": "200"}, {"client_secret": "s"}),
}


async def set_up(vault: Vault, provider: Provider, **settings: str) -> ProviderSetting:
    given, secrets = SETTINGS[provider]
    return await ProviderSetting.create(provider=provider, settings={**given, **settings}, secrets=vault.seal(secrets))


async def test_nothing_is_set_up(registry: Registry) -> None:
    asked = [
        registry.payments(Provider.STRIPE),
        registry.payments(Provider.GOCARDLESS),
        registry.mandates(),
        registry.subscriptions(),
        registry.courses(),
        registry.practice(),
        registry.accounting(),
        registry.webhooks(Provider.STRIPE),
        registry.sandbox(),
    ]
    for one in asked:
        with pytest.raises(Refused) as refused:
            await one
        assert refused.value.code == "PROVIDER_NOT_CONFIGURED"
    assert await registry.notifier() is None


async def test_each_provider_does_what_it_does(registry: Registry, vault: Vault) -> None:
    for provider in Provider:
        await set_up(vault, provider)
    cards = await registry.payments(Provider.STRIPE)
    debits = await registry.payments(Provider.GOCARDLESS)
    assert (type(cards), type(debits)) == (StripeAccount, DirectDebits)
    sellers: list[object] = [await registry.subscriptions(), await registry.mandates()]
    assert sellers == [cards, debits]
    assert isinstance(await registry.courses(), CoursePro)
    assert isinstance(await registry.practice(), Nookal)
    assert isinstance(await registry.accounting(), Xero)
    for provider in (Provider.XERO, Provider.NOOKAL, Provider.COURSEPRO):
        with pytest.raises(Refused):
            await registry.payments(provider)


async def test_a_stored_blank_secret_stops_the_start_of_the_api(
    vault: Vault, database_url: str, redis_url: str, secret_key: str
) -> None:
    """Whoever signs with nothing would be let in; a provider that is switched off lets nobody in."""
    settings = app.Settings(database_url=database_url, redis_url=redis_url, DUEFLOW_SECRET_KEY=secret_key)
    row = await set_up(vault, Provider.STRIPE)
    for blank in ({"api_key": "sk_test_1", "webhook_secret": " "}, {"api_key": "sk_test_1"}):
        row.secrets = vault.seal(blank)
        await row.save()
        with pytest.raises(BlankSecret, match="The stored webhook_secret of STRIPE is blank"):
            await refuse_blank(vault)
    starting = app.build(settings)
    with pytest.raises(BlankSecret):
        async with starting.router.lifespan_context(starting):
            raise AssertionError("it started")
    await Tortoise.init(config=tortoise_config(database_url), _enable_global_fallback=True)  # the start closed them
    row.enabled = False
    await row.save()
    await refuse_blank(vault)


async def test_a_provider_switched_off_is_not_there(registry: Registry, vault: Vault) -> None:
    row = await set_up(vault, Provider.STRIPE)
    await registry.payments(Provider.STRIPE)
    row.enabled = False
    await row.save()
    with pytest.raises(Refused):
        await registry.payments(Provider.STRIPE)


async def test_a_changed_row_makes_a_new_client_and_the_old_one_is_closed(
    registry: Registry, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []

    async def close(account: StripeAccount) -> None:
        closed.append(account)

    monkeypatch.setattr(StripeAccount, "close", close)
    monkeypatch.setattr(module, "REPLACED_KEPT_SECONDS", 0.0)
    row = await set_up(vault, Provider.STRIPE)
    first = await registry.payments(Provider.STRIPE)
    assert await registry.payments(Provider.STRIPE) is first
    row.version += 1
    await row.save()
    second = await registry.payments(Provider.STRIPE)
    assert second is not first
    assert await registry.payments(Provider.STRIPE) is second
    assert closed == [first]
    await registry.close()
    assert closed == [first, second]


async def test_a_row_is_read_again_only_after_a_while(vault: Vault, clock: StoppedClock) -> None:
    patient = Registry(vault, None, clock=clock)
    row = await set_up(vault, Provider.STRIPE)
    first = await patient.payments(Provider.STRIPE)
    row.version += 1
    await row.save()
    assert await patient.payments(Provider.STRIPE) is first
    await patient.close()


async def test_the_base_address_is_the_rows(vault: Vault, sandbox: Sandbox, clock: StoppedClock) -> None:
    registry = Registry(vault, sandbox.urls["admin"], clock=clock)
    credentials = sandbox.credentials["stripe"]
    settings = {"api_base": sandbox.urls["stripe"] + "/"}
    await ProviderSetting.create(provider=Provider.STRIPE, settings=settings, secrets=vault.seal(credentials))
    card = sandbox.do("stripe", "create_customer_with_card", email="jo@example.org", name="Jo")
    cards = await registry.payments(Provider.STRIPE)
    order = an_order(customer=card["customer"], payment_method=card["payment_method"])
    assert (await cards.collect(order)).reference == sandbox.state_of("stripe.payment_intent")[0]["id"]
    await registry.close()


async def test_mail_and_sandbox_come_from_the_environment(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:25?from=office@example.org")
    made = Registry(vault, "http://127.0.0.1:1")
    assert isinstance(await made.notifier(), Mail)
    assert await made.sandbox() is await made.sandbox()
    await made.close()
