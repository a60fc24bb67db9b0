"""The sandbox and a receiver, for documents that describe what travels."""

from tests.sandbox.conftest import Sandbox, receiver, receiver_process, sandbox, sandbox_process

__all__ = ["Sandbox", "receiver", "receiver_process", "sandbox", "sandbox_process"]
