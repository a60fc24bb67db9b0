"""Which providers are set up: rows of `provider_setting` -> the clients behind the ports. Only it names a vendor.

What a row may hold is listed in `models.actions.settings`.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog

from integrations.clock import SandboxAdmin, SystemClock
from integrations.coursepro.client import CoursePro
from integrations.coursepro.served import SERVED
from integrations.coursepro.webhook import CourseProCalls
from integrations.gocardless.client import API_BASE as GOCARDLESS
from integrations.gocardless.client import DirectDebits
from integrations.gocardless.webhook import DirectDebitWebhooks
from integrations.guard import Reach
from integrations.http import ANSWER_SECONDS
from integrations.mail import Mail
from integrations.nookal.client import Nookal
from integrations.nookal.wire import API_BASE as NOOKAL
from integrations.nookal.wire import CALLS_PER_SECOND
from integrations.stripe.client import API_BASE as STRIPE
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import StripeWebhooks
from integrations.xero.client import Xero
from integrations.xero.session import API_BASE as XERO
from integrations.xero.session import IDENTITY_BASE, SCOPES, Session
from models.actions.settings import HOSTS
from models.actions.vault import Vault
from models.ports import (
    AccountingSystem,
    Clock,
    CourseSystem,
    MandateGateway,
    Notifier,
    PaymentGateway,
    PracticeSystem,
    Providers,
    Refused,
    SandboxControl,
    SubscriptionSeller,
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
Settings = Mapping[str, Any]
Secrets = Mapping[str, str]

_log = structlog.get_logger(__name__)


class Closable(Protocol):
    """What holds connections."""

    async def close(self) -> None:
        """Give the connections back."""
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """The ports of one provider as it is set up: what is absent it does not do."""

    client: Closable
    payments: PaymentGateway | None = None
    mandates: MandateGateway | None = None
    subscriptions: SubscriptionSeller | None = None
    courses: CourseSystem | None = None
    practice: PracticeSystem | None = None
    accounting: AccountingSystem | None = None
    webhooks: WebhookSource | None = None


@dataclass(slots=True)
class Known:
    """What was last read of a provider's row, and the ports made of that version."""

    version: int
    ready: Ready
    read_at: float


class Registry(Providers):
    """The providers of this deployment. A registry and its clients belong to the event loop they are used in."""

    def __init__(
        self,
        vault: Vault,
        sandbox_admin: str | None,
        *,
        clock: Clock | None = None,
        smtp_url: str | None = None,
    ) -> None:
        """The vault that opens the rows' secrets; the sandbox's admin address, on one machine only, where rows may
        name loopback addresses; the clock that stamps what was seen; the mail server, SMTP_URL of the environment
        where none is given.
        """
        self._vault, self._clock = vault, clock or SystemClock()
        self._reach = Reach(local=sandbox_admin is not None)
        self._known: dict[Provider, Known] = {}
        self._turns = {provider: asyncio.Lock() for provider in Provider}
        self._replaced: list[tuple[float, Closable]] = []
        mail = smtp_url or os.environ.get("SMTP_URL")
        self._mail = Mail(mail) if mail else None
        self._sandbox = SandboxAdmin(sandbox_admin) if sandbox_admin else None

    async def close(self) -> None:
        """Close every client; the registry opens new ones where it is used again."""
        clients = [known.ready.client for known in self._known.values()] + [client for _, client in self._replaced]
        self._known.clear()
        self._replaced.clear()
        for client in [*clients, *filter(None, [self._sandbox])]:
            await client.close()

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
                ready = OPEN[provider](row.settings, self._vault.open(row.secrets), self._clock, self._reach)
                known = self._known[provider] = Known(row.version, ready, 0.0)
                _log.info("provider opened", provider=provider.value, version=row.version)
            known.read_at = time.monotonic()
            return known.ready

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


# -- one function a provider: (settings, secrets, clock, how far its addresses reach) -> its ports ---------------------


def _stripe(settings: Settings, secrets: Secrets, clock: Clock, reach: Reach) -> Ready:
    base = _base(settings, STRIPE)
    reach.check(base, HOSTS[Provider.STRIPE])  # its own library connects: it is called nowhere else
    account = StripeAccount(secrets["api_key"], api_base=base, answer_seconds=_answer_seconds(settings))
    webhooks = StripeWebhooks(account, _webhook_secrets(secrets), clock)
    return Ready(account, payments=account, subscriptions=account, webhooks=webhooks)


def _gocardless(settings: Settings, secrets: Secrets, _clock: Clock, reach: Reach) -> Ready:
    base = _base(settings, GOCARDLESS)
    reach.check(base, HOSTS[Provider.GOCARDLESS])  # as above
    debits = DirectDebits(
        secrets["access_token"],
        api_base=base,
        redirect_uri=settings.get("redirect_uri"),
        answer_seconds=_answer_seconds(settings),
    )
    webhooks = DirectDebitWebhooks(debits, _webhook_secrets(secrets))
    return Ready(debits, payments=debits, mandates=debits, webhooks=webhooks)


def _coursepro(settings: Settings, secrets: Secrets, _clock: Clock, reach: Reach) -> Ready:
    client = CoursePro(
        cart_complete_url=settings["cart_complete_url"],
        user_sync_url=settings["user_sync_url"],
        client_id=settings["client_id"],
        secret_token=secrets["secret_token"],
        answer_seconds=_answer_seconds(settings),
        reach=reach,
    )
    tokens = (secrets.get(name) for name in ("secret_token", "previous_secret_token"))
    return Ready(
        client, courses=client, webhooks=CourseProCalls([token for token in tokens if token], settings["client_id"])
    )


def _nookal(settings: Settings, secrets: Secrets, clock: Clock, reach: Reach) -> Ready:
    client = Nookal(
        secrets["api_key"],
        clock,
        api_base=_base(settings, NOOKAL),
        location_id=settings.get("location_id"),
        timezone=settings.get("timezone"),
        calls_per_second=float(settings.get("calls_per_second", CALLS_PER_SECOND)),
        answer_seconds=_answer_seconds(settings),
        reach=reach,
    )
    return Ready(client, practice=client)


def _xero(settings: Settings, secrets: Secrets, _clock: Clock, reach: Reach) -> Ready:
    session = Session(
        client_id=settings["client_id"],
        client_secret=secrets["client_secret"],
        tenant_id=settings["tenant_id"],
        api_base=_base(settings, XERO),
        # One address for both where only one is given: the real two are the default.
        identity_base=str(settings.get("identity_base") or settings.get("api_base") or IDENTITY_BASE).rstrip("/"),
        scopes=settings.get("scopes", SCOPES),
        answer_seconds=_answer_seconds(settings),
        reach=reach,
    )
    client = Xero(
        session,
        account_code=settings["account_code"],
        tax_type=settings.get("tax_type"),
        line_amount_types=settings.get("line_amount_types", "Inclusive"),
    )
    return Ready(client, accounting=client)


OPEN: dict[Provider, Callable[[Settings, Secrets, Clock, Reach], Ready]] = {
    Provider.STRIPE: _stripe,
    Provider.GOCARDLESS: _gocardless,
    Provider.COURSEPRO: _coursepro,
    Provider.NOOKAL: _nookal,
    Provider.XERO: _xero,
}
assert OPEN.keys() == set(Provider)


def _base(settings: Settings, default: str) -> str:
    return str(settings.get("api_base") or default).rstrip("/")


def _answer_seconds(settings: Settings) -> float:
    return float(settings.get("answer_seconds", ANSWER_SECONDS))


def _webhook_secrets(secrets: Secrets) -> list[str]:
    """The endpoint's secret, and the one before while it is being rolled."""
    return [secrets[name] for name in ("webhook_secret", "previous_webhook_secret") if name in secrets]
