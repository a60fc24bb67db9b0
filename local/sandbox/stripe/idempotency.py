"""Idempotency keys: the first executed request's answer, kept for 24 hours of virtual time."""

import hashlib
import json
from dataclasses import dataclass

from local.sandbox.stripe.account import Account
from local.sandbox.stripe.wire import ApiError
from local.sandbox.world import Json

KEPT_SECONDS = 86_400
LONGEST_KEY = 255
KIND = "stripe.idempotency"


@dataclass(frozen=True)
class Answer:
    """Status, JSON text and whether it was given before."""

    status: int
    body: str
    replayed: bool = False


def fingerprint(method: str, path: str, params: Json) -> str:
    """(method, path, parameters) -> a digest that differs when any of them does."""
    return hashlib.sha256(json.dumps([method, path, params], sort_keys=True).encode()).hexdigest()


def recall(account: Account, key: str, digest: str) -> Answer | None:
    """Key and digest -> the answer to give again, None for a new key; 400 when it was used for another request."""
    if len(key) > LONGEST_KEY:
        raise ApiError(400, "Idempotency keys have at most 255 characters.", "idempotency_error")
    kept = account.world.get(KIND, key)
    if kept is None or account.now() - kept["at"] >= KEPT_SECONDS:
        return None
    if kept["digest"] != digest:
        message = (
            "Keys for idempotent requests can only be used with the same parameters they were first used with."
            f" Try using a key other than '{key}' if you meant to execute a different request."
        )
        raise ApiError(400, message, "idempotency_error")
    return Answer(kept["status"], kept["body"], replayed=True)


def remember(account: Account, key: str, digest: str, answer: Answer) -> None:
    """Keep the answer of an executed request; a refusal before execution (400, 401, 404) never comes here."""
    kept = {"digest": digest, "status": answer.status, "body": answer.body, "at": account.now()}
    account.world.put(KIND, key, kept)


def overwrite(account: Account, headers: dict[str, str], status: int, body: bytes) -> None:
    """The caller saw this fault instead of the answer: it is what the key gives again from now on."""
    key = headers.get("idempotency-key")
    kept = account.world.get(KIND, key) if key else None
    if key and kept:
        account.world.put(KIND, key, kept | {"status": status, "body": body.decode()})
