"""How providers are reached, and the sandbox's clock."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from models.actions.unit import unit
from models.actions.vault import Vault, hint
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


# what the other side signs with: the old one stays valid beside the new one until the next change
ROTATED = frozenset({"webhook_secret", "secret_token"})


async def configure_provider(
    provider: Provider,
    *,
    settings: Mapping[str, Any],
    secrets: Mapping[str, str],
    enabled: bool,
    vault: Vault,
    acting: str,
    at: datetime,
) -> ProviderSetting:
    """Store how a provider is reached; a secret that is not given again keeps its value.

    Raises Refusal INVALID_INPUT (a setting is missing), SECRET_REQUIRED (a secret is missing or blank).
    """
    needs_settings, needs_secrets = NEEDED[provider]
    missing = sorted(needs_settings - settings.keys())
    if missing:
        raise Refusal(Code.INVALID_INPUT, f"{provider} needs the setting {missing[0]}.", field=("settings", missing[0]))
    for name, secret in secrets.items():
        if not secret.strip():
            raise Refusal(Code.SECRET_REQUIRED, field=("secrets", name))
    async with unit(acting=acting, at=at) as work:
        row = await ProviderSetting.filter(provider=provider).select_for_update().first()
        known = vault.open(row.secrets) if row else {}
        changed = {name: secret for name, secret in secrets.items() if known.get(name) != secret}
        for name in ROTATED & changed.keys() & known.keys():
            changed[f"previous_{name}"] = known[name]
        merged = known | changed
        missing = sorted(needs_secrets - merged.keys())
        if missing:
            raise Refusal(Code.SECRET_REQUIRED, field=("secrets", missing[0]))
        values: dict[str, Any] = {
            "settings": dict(settings),
            "secrets": vault.seal(merged),
            "hints": {name: hint(secret) for name, secret in merged.items()},
            "enabled": enabled,
        }
        if row is None:
            row = await ProviderSetting.create(provider=provider, **values)
        else:
            row.update_from_dict({**values, "version": row.version + 1})
            await row.save(update_fields=[*values, "version"])
        work.audit(
            "configure_provider", row, after={"settings": settings, "enabled": enabled, "secrets": sorted(changed)}
        )
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
        row = await SandboxClock.select_for_update().get(single=True)
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
