"""A GoCardless account on loopback: mandates and payments moved by a virtual Bacs calendar, signed batched webhooks."""

from local.sandbox.gocardless.api import server
from local.sandbox.gocardless.scenarios import ACTIONS

__all__ = ["ACTIONS", "server"]
