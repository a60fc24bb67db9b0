"""What a key or token may be given beyond its role; a word that is not here means nothing and is refused."""

from collections.abc import Iterable, Mapping

MONEY_READ = "money:read"

SCOPES: Mapping[str, str] = {
    MONEY_READ: "A partner sees payments, refunds, mandates, subscriptions, invoices and what is owed.",
}


def unknown(scopes: Iterable[str]) -> tuple[str, ...]:
    """Words that are no scopes, in their order."""
    return tuple(word for word in scopes if word not in SCOPES)
