"""Which providers are set up: rows of `provider_setting` -> the clients behind the ports. Only it names a vendor.

What a row may hold is listed in `models.actions.settings`.
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from integrations.clock import SandboxAdmin, SystemClock
from integrations.coursepro.client import CoursePro
from integrations.coursepro.served import SERVED
from integrations.coursepro.webhook import CourseProCalls
from integrations.gocardless.client import API_BASE as GOCARDLESS
from integrations.gocardless.client import DirectDebits
from integrations.gocardless.webhook import DirectDebitWebhooks
from integrations.guard import Reach
from integrations.hooks import Hooks
from integrations.limits import ALLOWED, pace_of
from integrations.mail import Mail
from integrations.nookal.client import Nookal
from integrations.nookal.wire import API_BASE as NOOKAL
from integrations.ready import Closable, Known, Opening, Ready
from integrations.stripe.client import API_BASE as STRIPE
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import StripeWebhooks
from integrations.together import Together
from integrations.xero.client import Xero
from integrations.xero.session import API_BASE as XERO
from integrations.xero.session import IDENTITY_BASE, SCOPES, Session
from models.actions.settings import HOSTS
from models.actions.vault import Vault
from models.ports import (
    AccountingSystem,
    Clock,
    CourseSystem,
    EventLog,
    MandateGateway,
    Notifier,
    PaymentGateway,
    PracticeSystem,
    Providers,
    Refused,
    SandboxControl,
    SubscriptionSeller,
    WebhookSender,
    WebhookSource,
)
from models.rules.states import Provider
from models.tables.setting import ProviderSetting

NOT_CONFIGURED = "PROVIDER_NOT_CONFIGURED"
COURSE_CALLS = SERVED  # what CoursePro is answered at once
READ_AGAIN_SECONDS = 3.0
# A replaced client is kept this long for the calls it is in the middle of.
REPLACED_KEPT_SECONDS = 60.0
T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Registry(Providers):
    """The providers of this deployment. A registry and its clients belong to the event loop they are used in."""

    def __init__(
        self,
        vault: Vault,
        sandbox_admin: str | None,
        *,
        clock: Clock | None = None,
        smtp_url: str | None = None,
        redis_url: str | None = None,
    ) -> None:
        """The vault that opens the rows' secrets; the sandbox's admin address, on one machine only, where rows may
        name loopback addresses; the clock that stamps what was seen; the mail server, SMTP_URL of the environment
        where none is given; the Redis in which all workers share what they may ask, None for a process that is alone.
        """
        self._together = Together(redis_url) if redis_url else None
        self._vault, self._clock = vault, clock or SystemClock()
        self._reach = Reach(local=sandbox_admin is not None)
        self._known: dict[Provider, Known] = {}
        self._turns = {provider: asyncio.Lock() for provider in Provider}
        self._replaced: list[tuple[float, Closable]] = []
        mail = smtp_url or os.environ.get("SMTP_URL")
        self._mail = Mail(mail) if mail else None
        self._sandbox = SandboxAdmin(sandbox_admin) if sandbox_admin else None
        self._hooks: Hooks | None = None

    async def close(self) -> None:
        """Close every client; the registry opens new ones where it is used again."""
        clients: list[Closable] = [known.ready.client for known in self._known.values()]
        clients += [client for _, client in self._replaced]
        self._known.clear()
        self._replaced.clear()
        clients += [client for client in (self._sandbox, self._hooks) if client]
        for client in clients:
            await client.close()
        self._hooks = None
        if self._together:
            await self._together.close()

    # -- Providers ---------------------------------------------------------------------------------------------------

    async def payments(self, provider: Provider) -> PaymentGateway:
        """Who takes money: cards (STRIPE) or direct debits (GOCARDLESS). Raises Refused."""
        return _there((await self._ready(provider)).payments, provider)

    async def mandates(self) -> MandateGateway:
        """Who keeps direct debit instructions. Raises Refused."""
        return _there((await self._ready(Provider.GOCARDLESS)).mandates, Provider.GOCARDLESS)

    async def subscriptions(self) -> SubscriptionSeller:
        """Who sells subscriptions. Raises Refused."""
        return _there((await self._ready(Provider.STRIPE)).subscriptions, Provider.STRIPE)

    async def courses(self) -> CourseSystem:
        """Who runs courses. Raises Refused."""
        return _there((await self._ready(Provider.COURSEPRO)).courses, Provider.COURSEPRO)

    async def practice(self) -> PracticeSystem:
        """Who keeps the clinic's diary. Raises Refused."""
        return _there((await self._ready(Provider.NOOKAL)).practice, Provider.NOOKAL)

    async def accounting(self) -> AccountingSystem:
        """Who keeps the books. Raises Refused."""
        return _there((await self._ready(Provider.XERO)).accounting, Provider.XERO)

    async def webhooks(self, provider: Provider) -> WebhookSource:
        """Who reads that provider's webhooks. Raises Refused."""
        return _there((await self._ready(provider)).webhooks, provider)

    async def event_log(self, provider: Provider) -> EventLog:
        """Who knows what that provider's webhooks should have told. Raises Refused."""
        return _there((await self._ready(provider)).event_log, provider)

    async def hooks(self) -> WebhookSender:
        """Who calls the addresses of partners."""
        self._hooks = self._hooks or Hooks(self._vault, self._reach)
        return self._hooks

    async def notifier(self) -> Notifier | None:
        """Who reaches people; None where no mail server is set up."""
        return self._mail

    async def sandbox(self) -> SandboxControl:
        """Who moves the sandbox's clock. Raises Refused where there is no sandbox."""
        if self._sandbox is None:
            raise Refused("There is no sandbox here.", code=NOT_CONFIGURED)
        return self._sandbox

    # -- rows to clients ---------------------------------------------------------------------------------------------

    async def _ready(self, provider: Provider) -> Ready:
        async with self._turns[provider]:
            known = self._known.get(provider)
            if known and time.monotonic() - known.read_at < READ_AGAIN_SECONDS:
                return known.ready
            row = await ProviderSetting.get_or_none(provider=provider)
            await self._close_replaced()
            if known and (row is None or not row.enabled or row.version != known.version):
                self._replaced.append((time.monotonic(), self._known.pop(provider).ready.client))
                known = None
            if row is None or not row.enabled:
                raise Refused(f"{provider} is not set up.", code=NOT_CONFIGURED)
            if known is None:
                ready = OPEN[provider](self._opening(provider, row))
                known = self._known[provider] = Known(row.version, ready, 0.0)
                _log.info("provider opened", provider=provider.value, version=row.version)
            known.read_at = time.monotonic()
            return known.ready

    def _opening(self, provider: Provider, row: ProviderSetting) -> Opening:
        secrets = self._vault.open(row.secrets)
        pace = pace_of(provider, row.settings, secrets, self._together)
        return Opening(row.settings, secrets, self._clock, self._reach, pace)

    async def _close_replaced(self) -> None:
        now = time.monotonic()
        due = [client for at, client in self._replaced if now - at >= REPLACED_KEPT_SECONDS]
        self._replaced = [(at, client) for at, client in self._replaced if now - at < REPLACED_KEPT_SECONDS]
        for client in due:
            await client.close()


def _there(port: T | None, provider: Provider) -> T:
    if port is None:
        raise Refused(f"{provider} does not do that.", code=NOT_CONFIGURED)
    return port


# -- one function a provider: what it is opened with -> its ports ------------------------------------------------------


def _stripe(given: Opening) -> Ready:
    base = given.base(STRIPE)
    given.reach.check(base, HOSTS[Provider.STRIPE])  # its own library connects: it is called nowhere else
    account = StripeAccount(
        given.secrets["api_key"], api_base=base, answer_seconds=given.answer_seconds, pace=given.pace
    )
    webhooks = StripeWebhooks(account, given.webhook_secrets, given.clock)
    return Ready(account, payments=account, subscriptions=account, webhooks=webhooks, event_log=webhooks)


def _gocardless(given: Opening) -> Ready:
    base = given.base(GOCARDLESS)
    given.reach.check(base, HOSTS[Provider.GOCARDLESS])  # as above
    debits = DirectDebits(
        given.secrets["access_token"],
        api_base=base,
        redirect_uri=given.settings.get("redirect_uri"),
        answer_seconds=given.answer_seconds,
        pace=given.pace,
    )
    webhooks = DirectDebitWebhooks(debits, given.webhook_secrets)
    return Ready(debits, payments=debits, mandates=debits, webhooks=webhooks, event_log=webhooks)


def _coursepro(given: Opening) -> Ready:
    client = CoursePro(
        cart_complete_url=given.settings["cart_complete_url"],
        user_sync_url=given.settings["user_sync_url"],
        client_id=given.settings["client_id"],
        secret_token=given.secrets["secret_token"],
        answer_seconds=given.answer_seconds,
        reach=given.reach,
        pace=given.pace,
    )
    tokens = (given.secrets.get(name) for name in ("secret_token", "previous_secret_token"))
    calls = CourseProCalls([token for token in tokens if token], given.settings["client_id"])
    return Ready(client, courses=client, webhooks=calls)


def _nookal(given: Opening) -> Ready:
    client = Nookal(
        given.secrets["api_key"],
        given.clock,
        api_base=given.base(NOOKAL),
        location_id=given.settings.get("location_id"),
        timezone=given.settings.get("timezone"),
        answer_seconds=given.answer_seconds,
        reach=given.reach,
        pace=given.pace,
    )
    return Ready(client, practice=client)


def _xero(given: Opening) -> Ready:
    session = Session(
        client_id=given.settings["client_id"],
        client_secret=given.secrets["client_secret"],
        tenant_id=given.settings["tenant_id"],
        api_base=given.base(XERO),
        # One address for both where only one is given: the real two are the default.
        identity_base=str(given.settings.get("identity_base") or given.base(IDENTITY_BASE)).rstrip("/"),
        scopes=given.settings.get("scopes", SCOPES),
        answer_seconds=given.answer_seconds,
        reach=given.reach,
        pace=given.pace,
    )
    client = Xero(
        session,
        account_code=given.settings["account_code"],
        tax_type=given.settings.get("tax_type"),
        line_amount_types=given.settings.get("line_amount_types", "Inclusive"),
    )
    return Ready(client, accounting=client)


OPEN: dict[Provider, Callable[[Opening], Ready]] = {
    Provider.STRIPE: _stripe,
    Provider.GOCARDLESS: _gocardless,
    Provider.COURSEPRO: _coursepro,
    Provider.NOOKAL: _nookal,
    Provider.XERO: _xero,
}
assert OPEN.keys() == ALLOWED.keys() == set(Provider)
