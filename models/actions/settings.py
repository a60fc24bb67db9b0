"""How providers are reached, and the sandbox's clock.

Settings a row may hold beside the ones it must (`NEEDED`):

| provider   | setting                                                                                        |
|------------|------------------------------------------------------------------------------------------------|
| all        | answer_seconds (10)                                                                            |
| all but CP | api_base (the vendor's own address; of STRIPE and GOCARDLESS one of `HOSTS`)                    |
| GOCARDLESS | redirect_uri: where a payer returns to from the signing page                                   |
| COURSEPRO  | user_sync_enabled: whether changes of users travel; set by `coursepro_setup` alone              |
| NOOKAL     | location_id of invoices that name none, timezone of locations without, calls_per_second (2)    |
| XERO       | identity_base, scopes, tax_type (the account's), line_amount_types (Inclusive)                 |
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from models.actions.unit import unit
from models.actions.vault import SealBroken, Vault, hint
from models.rules.addresses import check_address
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider
from models.tables.setting import ProviderSetting, SandboxClock

# provider: (settings it needs, secrets it needs)
NEEDED: dict[Provider, tuple[frozenset[str], frozenset[str]]] = {
    Provider.STRIPE: (frozenset(), frozenset({"api_key", "webhook_secret"})),
    Provider.GOCARDLESS: (frozenset(), frozenset({"access_token", "webhook_secret"})),
    Provider.COURSEPRO: (frozenset({"client_id", "cart_complete_url", "user_sync_url"}), frozenset({"secret_token"})),
    Provider.NOOKAL: (frozenset(), frozenset({"api_key"})),
    Provider.XERO: (frozenset({"client_id", "tenant_id", "account_code"}), frozenset({"client_secret"})),
}

# the settings that are called, and where the vendor's own library connects, its hosts: it is called nowhere else
ADDRESSES: dict[Provider, tuple[str, ...]] = {
    Provider.STRIPE: ("api_base",),
    Provider.GOCARDLESS: ("api_base",),
    Provider.COURSEPRO: ("cart_complete_url", "user_sync_url"),
    Provider.NOOKAL: ("api_base",),
    Provider.XERO: ("api_base", "identity_base"),
}
HOSTS: dict[Provider, frozenset[str]] = {
    Provider.STRIPE: frozenset({"api.stripe.com"}),
    Provider.GOCARDLESS: frozenset({"api.gocardless.com", "api-sandbox.gocardless.com"}),
}
USER_SYNC = "user_sync_enabled"

# what the other side signs with: the old one stays valid beside the new one until the next change
ROTATED = frozenset({"webhook_secret", "secret_token"})


class BlankSecret(Exception):
    """A stored secret is blank: whoever signs with nothing would be let in."""


async def refuse_blank(vault: Vault) -> None:
    """Look at the secrets of every provider that is switched on, before anything is served. Raises BlankSecret.

    What another key sealed opens nothing, and is refused where it is used.
    """
    for row in await ProviderSetting.every(enabled=True):
        try:
            secrets = vault.open(row.secrets)
        except SealBroken:
            continue
        for name in sorted(NEEDED[row.provider][1] | secrets.keys()):
            if not secrets.get(name, "").strip():
                raise BlankSecret(
                    f"The stored {name} of {row.provider} is blank. Switch the provider off in the database (enabled ="
                    " false in its row of provider_setting), start, and call configureProvider."
                )


async def configure_provider(
    provider: Provider,
    *,
    settings: Mapping[str, Any],
    secrets: Mapping[str, str],
    enabled: bool,
    vault: Vault,
    acting: str,
    at: datetime,
    local: bool = False,
) -> ProviderSetting:
    """Store how a provider is reached; a secret that is not given again keeps its value.

    `local`: the sandbox runs here, so addresses may be loopback ones. Raises Refusal INVALID_INPUT (a setting is
    missing, or is not set here), ADDRESS_NOT_ALLOWED, SECRET_REQUIRED (a secret is missing or blank).
    """
    needs_settings, needs_secrets = NEEDED[provider]
    missing = sorted(needs_settings - settings.keys())
    if missing:
        raise Refusal(Code.INVALID_INPUT, f"{provider} needs the setting {missing[0]}.", field=("settings", missing[0]))
    if USER_SYNC in settings:
        raise Refusal(Code.INVALID_INPUT, "configureCoursePro switches this.", field=("settings", USER_SYNC))
    for name, secret in secrets.items():
        if not secret.strip():
            raise Refusal(Code.SECRET_REQUIRED, field=("secrets", name))
    for name in ADDRESSES[provider]:
        if name in settings:
            only = HOSTS.get(provider, frozenset())
            check_address(str(settings[name]), local=local, only=only, field=("settings", name))
    async with unit(acting=acting, at=at) as work:
        row = await locked(provider)
        merged, changed = rotated(vault.open(row.secrets) if row else {}, secrets)
        missing = sorted(needs_secrets - merged.keys())
        if missing:
            raise Refusal(Code.SECRET_REQUIRED, field=("secrets", missing[0]))
        switched = {USER_SYNC: row.settings[USER_SYNC]} if row and USER_SYNC in row.settings else {}
        row = await keep(row, provider, {**settings, **switched}, merged, enabled=enabled, vault=vault)
        work.audit("configure_provider", row, after={"settings": settings, "enabled": enabled, "secrets": changed})
    return row


async def locked(provider: Provider) -> ProviderSetting | None:
    """How a provider is reached, held until the transaction ends."""
    return await ProviderSetting.one(provider=provider, lock=True)


def rotated(known: Mapping[str, str], given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """(secrets stored, secrets given) -> what to store, the one before kept of those of `ROTATED`; names changed."""
    changed = {name: secret for name, secret in given.items() if known.get(name) != secret}
    for name in ROTATED & changed.keys() & known.keys():
        changed[f"previous_{name}"] = known[name]
    return {**known, **changed}, sorted(changed)


async def keep(
    row: ProviderSetting | None,
    provider: Provider,
    settings: Mapping[str, Any],
    secrets: dict[str, str],
    *,
    enabled: bool,
    vault: Vault,
) -> ProviderSetting:
    """Write a provider's row anew, its secrets sealed and hinted at by their last four; its version rises."""
    values: dict[str, Any] = {
        "settings": dict(settings),
        "secrets": vault.seal(secrets),
        "hints": {name: hint(secret) for name, secret in secrets.items()},
        "enabled": enabled,
    }
    if row is None:
        return await ProviderSetting.create(provider=provider, **values)
    row.update_from_dict({**values, "version": row.version + 1})
    await row.save(update_fields=[*values, "version"])
    return row


FARTHEST_JUMP = timedelta(days=731)


async def advance_clock(to: datetime, *, acting: str, at: datetime) -> datetime:
    """Move the sandbox's clock to `to`; a job tells the sandbox -> the new time.

    Raises Refusal CLOCK_ONLY_FORWARD, INVALID_INPUT.
    """
    if to > at + FARTHEST_JUMP:
        raise Refusal(Code.INVALID_INPUT, "The clock moves on by two years at most.", field=("to",))
    async with unit(acting=acting, at=to) as work:
        await SandboxClock.get_or_create(single=True)
        row = await SandboxClock.known(single=True, lock=True)
        if to <= datetime.now(UTC) + timedelta(seconds=row.ahead_seconds):
            raise Refusal(Code.CLOCK_ONLY_FORWARD, field=("to",))
        row.ahead_seconds = round((to - datetime.now(UTC)).total_seconds())
        await row.save(update_fields=["ahead_seconds"])
        work.audit("advance_clock", row, before={"now": at}, after={"now": to})
        work.job("sandbox.move_clock", payload={"now": to})
    return to


async def clock_offset() -> int:
    """By how many seconds the sandbox's clock runs ahead; 0 where it was never moved."""
    row = await SandboxClock.first()
    return row.ahead_seconds if row else 0
