"""What each provider allows an account, one line each, and the gate that follows from it."""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

from integrations.pace import Allowance, Pace
from integrations.together import Together
from models.rules.states import Provider

Settings = Mapping[str, Any]
Secrets = Mapping[str, str]
LENGTH_OF_NAME = 12
CALLS_PER_SECOND = 2.0  # Nookal publishes no limit


def _nookal(settings: Settings, _secrets: Secrets) -> Allowance:
    wanted = float(settings.get("calls_per_second", CALLS_PER_SECOND))
    if not wanted:
        return Allowance()
    return Allowance(((int(wanted), 1),) if wanted >= 1 else ((1, math.ceil(1 / wanted)),))


# provider: what it allows, by its settings and secrets
ALLOWED: dict[Provider, Callable[[Settings, Secrets], Allowance]] = {
    # a live account allows 100, each of its endpoints 25, and a run of fees asks one of them
    Provider.STRIPE: lambda *_: Allowance(((25, 1),)),
    Provider.GOCARDLESS: lambda *_: Allowance(((1000, 60),)),
    Provider.COURSEPRO: lambda *_: Allowance(),
    Provider.NOOKAL: _nookal,
    Provider.XERO: lambda *_: Allowance(((60, 60), (5000, 86_400)), at_once=5),
}
# provider: the setting or secret that stands for the account it counts
COUNTED_BY: dict[Provider, str] = {
    Provider.STRIPE: "api_key",
    Provider.GOCARDLESS: "access_token",
    Provider.COURSEPRO: "client_id",
    Provider.NOOKAL: "api_key",
    Provider.XERO: "tenant_id",
}


def pace_of(provider: Provider, settings: Settings, secrets: Secrets, together: Together | None) -> Pace:
    """A provider as it is set up, and what all workers know, or None -> the gate of its account."""
    counted = {**settings, **secrets}[COUNTED_BY[provider]]
    name = hashlib.sha256(f"{provider}:{counted}".encode()).hexdigest()[:LENGTH_OF_NAME]  # tells nothing of a secret
    return Pace(f"{provider}:{name}", ALLOWED[provider](settings, secrets), together)
