"""The addresses partners are told at: set up, changed, given fresh secrets, switched off and on. Decision 64.

`owner` is the key of a partner, who knows no other endpoints than the own ones; None for whoever may see them all.
"""

import json
import secrets as chance
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions.unit import unit
from models.actions.vault import Vault, hint
from models.rules.addresses import check_address
from models.rules.partners import MOST_ENDPOINTS, OVERLAP, SECRET_BYTES, WebhookTopic, written_secret
from models.rules.refusals import Code, Refusal
from models.tables.partner import WebhookEndpoint

BY_HAND = "Switched off by hand."
LONGEST_URL = 500


async def create_webhook_endpoint(
    *,
    url: str,
    topics: Sequence[WebhookTopic],
    owner: UUID | None,
    vault: Vault,
    local: bool,
    acting: str,
    at: datetime,
    description: str = "",
) -> tuple[WebhookEndpoint, str]:
    """An address that is told of events from now on -> (its row, the signing secret, never shown again).

    `local`: the sandbox runs here, so it may be a loopback one. Raises Refusal INVALID_INPUT, ADDRESS_NOT_ALLOWED.
    """
    _check(url, topics, local=local)
    secret = written_secret(chance.token_bytes(SECRET_BYTES))
    async with unit(acting=acting, at=at) as work:
        if await WebhookEndpoint.filter(api_key_id=owner).count() >= MOST_ENDPOINTS:
            raise Refusal(Code.INVALID_INPUT, f"There are {MOST_ENDPOINTS} endpoints already: use one of them.")
        row = await WebhookEndpoint.create(
            api_key_id=owner,
            url=url,
            description=description,
            topics=_words(topics),
            secrets=_sealed(vault, [{"secret": secret, "until": None}]),
            hint=hint(secret),
        )
        work.audit("create_webhook_endpoint", row, after={"url": url, "topics": row.topics})
    return row, secret


async def update_webhook_endpoint(
    endpoint_id: UUID,
    *,
    owner: UUID | None,
    local: bool,
    acting: str,
    at: datetime,
    url: str | None = None,
    topics: Sequence[WebhookTopic] | None = None,
    description: str | None = None,
) -> WebhookEndpoint:
    """Change what is given; messages that wait go to the new address.

    Raises Refusal NOT_FOUND, INVALID_INPUT, ADDRESS_NOT_ALLOWED.
    """
    _check(url, topics, local=local)
    told = {"url": url, "topics": None if topics is None else _words(topics), "description": description}
    changed = {name: value for name, value in told.items() if value is not None}
    async with unit(acting=acting, at=at) as work:
        row = await owned(endpoint_id, owner)
        before: dict[str, Any] = {name: getattr(row, name) for name in changed}
        if before != changed:
            row.update_from_dict(changed)
            await row.save(update_fields=[*changed, "updated_at"])
            work.audit("update_webhook_endpoint", row, before=before, after=changed)
    return row


async def rotate_webhook_secret(
    endpoint_id: UUID, *, owner: UUID | None, vault: Vault, acting: str, at: datetime
) -> tuple[WebhookEndpoint, str]:
    """A fresh secret, shown once; for a day each attempt is signed with the one before as well. Raises NOT_FOUND."""
    secret = written_secret(chance.token_bytes(SECRET_BYTES))
    async with unit(acting=acting, at=at) as work:
        row = await owned(endpoint_id, owner)
        before = _opened(vault, row.secrets)[0]["secret"]
        kept = [{"secret": secret, "until": None}, {"secret": before, "until": (at + OVERLAP).isoformat()}]
        shown, row.secrets, row.hint = row.hint, _sealed(vault, kept), hint(secret)
        await row.save(update_fields=["secrets", "hint", "updated_at"])
        after = {"hint": row.hint, "before_until": at + OVERLAP}
        work.audit("rotate_webhook_secret", row, before={"hint": shown}, after=after)
    return row, secret


async def enable_webhook_endpoint(
    endpoint_id: UUID, *, owner: UUID | None, acting: str, at: datetime
) -> WebhookEndpoint:
    """Switch an endpoint on again, its failures forgotten; what happened meanwhile is not sent. Raises NOT_FOUND."""
    async with unit(acting=acting, at=at) as work:
        row = await owned(endpoint_id, owner)
        if not row.enabled:
            before = {"enabled": False, "because": row.disabled_because}
            row.enabled, row.disabled_because, row.failing_since = True, None, None
            await row.save(update_fields=["enabled", "disabled_because", "failing_since", "updated_at"])
            work.audit("enable_webhook_endpoint", row, before=before, after={"enabled": True})
    return row


async def disable_webhook_endpoint(
    endpoint_id: UUID, *, owner: UUID | None, acting: str, at: datetime, because: str = BY_HAND
) -> WebhookEndpoint:
    """Send an endpoint nothing any more; messages that wait fail, and may be asked for again. Raises NOT_FOUND."""
    async with unit(acting=acting, at=at) as work:
        row = await owned(endpoint_id, owner)
        if row.enabled:
            row.enabled, row.disabled_because = False, because
            await row.save(update_fields=["enabled", "disabled_because", "updated_at"])
            switched = {"before": {"enabled": True}, "after": {"enabled": False}}
            work.audit("disable_webhook_endpoint", row, **switched, because=[because])
    return row


async def owned(endpoint_id: UUID, owner: UUID | None) -> WebhookEndpoint:
    """An endpoint, held until the transaction ends. Raises Refusal NOT_FOUND, for one of somebody else too."""
    row = await WebhookEndpoint.one(id=endpoint_id, lock=True)
    if row is None or (owner is not None and row.api_key_id != owner):
        raise Refusal(Code.NOT_FOUND, field=("webhookEndpointId",))
    return row


def good_secrets(vault: Vault, sealed: str, at: datetime) -> list[str]:
    """The stored secrets -> those that sign at an instant, the present one first. Raises SealBroken."""
    kept = _opened(vault, sealed)
    return [each["secret"] for each in kept if each["until"] is None or at < datetime.fromisoformat(each["until"])]


def _check(url: str | None, topics: Sequence[WebhookTopic] | None, *, local: bool) -> None:
    if url is not None:
        if len(url) > LONGEST_URL:
            raise Refusal(Code.INVALID_INPUT, f"It is longer than {LONGEST_URL} characters.", field=("url",))
        check_address(url, local=local, field=("url",))
    if topics is not None and not topics:
        raise Refusal(Code.INVALID_INPUT, "Name at least one topic.", field=("topics",))


def _words(topics: Sequence[WebhookTopic]) -> list[str]:
    return sorted({topic.value for topic in topics})


def _sealed(vault: Vault, kept: list[dict[str, Any]]) -> str:
    return vault.seal({"secrets": json.dumps(kept)})


def _opened(vault: Vault, sealed: str) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = json.loads(vault.open(sealed)["secrets"])
    return kept
