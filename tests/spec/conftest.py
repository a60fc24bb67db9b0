"""Sentences about what another system sees are held against its sandbox, on a database of the module's own."""

from tests.sandbox.conftest import Sandbox, receiver, receiver_process, sandbox, sandbox_process

__all__ = ["Sandbox", "receiver", "receiver_process", "sandbox", "sandbox_process"]
