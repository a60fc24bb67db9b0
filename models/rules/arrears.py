"""What is owed and was not paid: which payments that is, how it can be settled, and what is too little to ask for."""

from enum import StrEnum

from models.rules.money import Money
from models.rules.states import PaymentStatus, Provider


class SettleBy(StrEnum):
    """CARD: asked for at once, by the card on file. VOID: never asked for again. DEFER: on top of the next fee."""

    CARD = "CARD"
    VOID = "VOID"
    DEFER = "DEFER"


MISSED = (PaymentStatus.FAILED, PaymentStatus.CHARGED_BACK)
# who collects, and the currency -> the least it takes, minor units; one where nothing is said
SMALLEST: dict[tuple[Provider, str], int] = {
    (Provider.GOCARDLESS, "GBP"): 1_00,
    (Provider.STRIPE, "GBP"): 30,
    (Provider.STRIPE, "AUD"): 50,
    (Provider.STRIPE, "CAD"): 50,
    (Provider.STRIPE, "DKK"): 2_50,
    (Provider.STRIPE, "EUR"): 50,
    (Provider.STRIPE, "NZD"): 50,
    (Provider.STRIPE, "SEK"): 3_00,
    (Provider.STRIPE, "USD"): 50,
}


def too_small(provider: Provider, price: Money) -> bool:
    """Whether a provider does not collect so little: it rides on the next fee."""
    return price.minor_units < SMALLEST.get((provider, price.currency), 1)
