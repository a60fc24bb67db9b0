"""Secrets at rest: sealed with the deployment's key, opened only to be used."""

import json

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SealBroken(Exception):
    """A stored secret was sealed with a key this deployment does not have."""


class Vault:
    """Seals and opens small objects. Of several comma-separated keys the first seals and all open, for rotation."""

    def __init__(self, keys: str) -> None:
        """Take DUEFLOW_SECRET_KEY. Raises ValueError where it is blank or no Fernet key."""
        names = [key.strip() for key in keys.split(",") if key.strip()]
        if not names:
            raise ValueError("DUEFLOW_SECRET_KEY is blank: make one with `python -m app new-secret-key`")
        self._fernet = MultiFernet([Fernet(name) for name in names])

    def seal(self, secrets: dict[str, str]) -> str:
        """An object -> the text to store."""
        return self._fernet.encrypt(json.dumps(secrets).encode()).decode()

    def open(self, sealed: str) -> dict[str, str]:
        """The stored text -> the object. Raises SealBroken."""
        try:
            opened: dict[str, str] = json.loads(self._fernet.decrypt(sealed.encode()))
        except InvalidToken as broken:
            raise SealBroken(
                "a stored secret does not open with DUEFLOW_SECRET_KEY: is it the key of this database?"
            ) from broken
        return opened


def hint(secret: str) -> str:
    """What may be shown of a secret: its last four characters, of a long one only."""
    return f"…{secret[-4:]}" if len(secret) >= 12 else "…"
