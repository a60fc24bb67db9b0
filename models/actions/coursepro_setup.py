"""The CoursePro configuration: its five fields, entered in one submission. Source: CoursePro, F; R65-R74."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from models.actions import user_sync
from models.actions.settings import ADDRESSES, NEEDED, USER_SYNC, keep, locked, rotated
from models.actions.unit import unit
from models.actions.vault import Vault
from models.rules.addresses import check_address
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider
from models.tables.setting import ProviderSetting

OUR_WORD = {  # our word for a credential: the input's
    "client_id": "clientId",
    "cart_complete_url": "cartCompleteUrl",
    "secret_token": "secretToken",
    "user_sync_url": "userSyncUrl",
}
assert OUR_WORD.keys() == frozenset().union(*NEEDED[Provider.COURSEPRO])


async def configure_coursepro(
    *,
    user_sync_enabled: bool,
    vault: Vault,
    acting: str,
    at: datetime,
    client_id: str | None = None,
    cart_complete_url: str | None = None,
    secret_token: str | None = None,
    user_sync_url: str | None = None,
    local: bool = False,
) -> ProviderSetting:
    """Enter the credentials and switch the sync of users; what is left out stays, all of it or nothing is stored.

    CoursePro is called once all four credentials are there, and users are synced where the switch is on too; turning
    it on tells CoursePro of everybody it was not told of. A changed token is used at once, the one before still opens
    its calls to us until the next change. Raises Refusal CREDENTIALS_INCOMPLETE, ADDRESS_NOT_ALLOWED, SECRET_REQUIRED.
    """
    given = {"client_id": client_id, "cart_complete_url": cart_complete_url, "user_sync_url": user_sync_url}
    if secret_token is not None and not secret_token.strip():
        raise Refusal(Code.SECRET_REQUIRED, field=("secretToken",))
    async with unit(acting=acting, at=at) as work:
        row = await locked(Provider.COURSEPRO)
        known = dict(row.settings) if row else {}
        settings = {**known, **{name: value for name, value in given.items() if value is not None}}
        stored = vault.open(row.secrets) if row else {}
        secrets, changed = rotated(stored, {} if secret_token is None else {"secret_token": secret_token})
        for name in ADDRESSES[Provider.COURSEPRO]:
            if name in settings:
                check_address(str(settings[name]), local=local, field=(OUR_WORD[name],))
        missing = missing_of({**settings, **secrets})
        if user_sync_enabled and missing:
            raise Refusal(Code.CREDENTIALS_INCOMPLETE, f"{missing[0]} is missing.", field=(OUR_WORD[missing[0]],))
        # who switched a complete set-up off by configureProvider switches it on there
        was_off = row is not None and not row.enabled and not missing_of({**known, **stored})
        settings[USER_SYNC] = user_sync_enabled
        row = await keep(row, Provider.COURSEPRO, settings, secrets, enabled=not missing and not was_off, vault=vault)
        work.audit("configure_coursepro", row, before=known, after={"settings": settings, "secrets": changed})
        if user_sync_enabled and not known.get(USER_SYNC):
            await user_sync.backfill(acting=acting, at=at)
    return row


def missing_of(stored: Mapping[str, Any]) -> list[str]:
    """What is stored -> the names of the credentials that are not, in the order of the document."""
    return [name for name in OUR_WORD if not stored.get(name)]
