"""A Stripe account on loopback: state, idempotency, signed webhooks, renewals by the virtual clock.

Objects have the shapes of API version 2026-10-28.endive.
"""

from local.sandbox.stripe.api import server
from local.sandbox.stripe.scenarios import ACTIONS

__all__ = ["ACTIONS", "server"]
