"""Money as whole minor units beside an ISO currency (D1), and the one way to split it (D2, R110)."""

import re
from dataclasses import dataclass
from functools import total_ordering

# Digits after the point. ISK, MGA, MRU and UGX are missing on purpose: the standard and the payment providers disagree
# about their minor unit, and a currency refused is better than an amount a hundred times too large.
_DIGITS = {
    0: "BIF CLP DJF GNF JPY KMF KRW PYG RWF VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP "
    "CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR "
    "JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK "
    "NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB "
    "TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
EXPONENT: dict[str, int] = {code: digits for digits, codes in _DIGITS.items() for code in codes.split()}

_DECIMAL = re.compile(r"(?P<sign>-?)(?P<whole>\d{1,15})(?:\.(?P<part>\d{1,15}))?", re.ASCII)


def exponent(currency: str) -> int:
    """ISO code in capitals -> digits after the point ("GBP" -> 2, "JPY" -> 0); ValueError when unknown. Source: D1."""
    if currency not in EXPONENT:
        raise ValueError(f"{currency!r} is not a currency known here")
    return EXPONENT[currency]


def split(amount: int, parts: int) -> list[int]:
    """Split minor units into shares that sum exactly and differ by one at most; the last shares carry the remainder.

    A negative amount is split by its absolute value and negated. ValueError when `parts` < 1.
    Source: BOS, how the invoice is calculated; D2, R110.

    >>> split(10000, 3)
    [3333, 3333, 3334]
    >>> split(-100, 3)
    [-33, -33, -34]
    """
    if parts < 1:
        raise ValueError(f"cannot split {amount} into {parts} parts")
    share, remainder = divmod(abs(amount), parts)
    sign = -1 if amount < 0 else 1
    return [sign * share] * (parts - remainder) + [sign * (share + 1)] * remainder


def decimal_text(minor_units: int, currency: str) -> str:
    """Minor units -> plain decimal text with all of the currency's digits: (2000, "GBP") -> "20.00". Source: D1."""
    digits = exponent(currency)
    whole, part = divmod(abs(minor_units), 10**digits)
    sign = "-" if minor_units < 0 else ""
    return f"{sign}{whole}.{part:0{digits}d}" if digits else f"{sign}{whole}"


def from_decimal(text: str, currency: str) -> int:
    """Decimal text of a vendor -> minor units, exactly: ("20.00", "GBP") -> 2000. Source: D1.

    Zeros past the currency's digits say nothing and pass ("20.0000"); any other digit there is a ValueError, as is
    text that is not a plain decimal number (exponents, separators, signs other than a leading minus).
    """
    digits = exponent(currency)
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a decimal amount")
    part = found["part"] or ""
    if part[digits:].strip("0"):
        raise ValueError(f"{text!r} has more than the {digits} digits of {currency}")
    minor_units = int(found["whole"] + part[:digits].ljust(digits, "0"))
    return -minor_units if found["sign"] else minor_units


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of one ISO currency; sums and comparisons across currencies are ValueErrors (D1)."""

    minor_units: int
    currency: str

    def __post_init__(self) -> None:
        exponent(self.currency)

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor_units + self._beside(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor_units - self._beside(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.minor_units, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor_units < self._beside(other)

    def __bool__(self) -> bool:
        return self.minor_units != 0

    def __str__(self) -> str:
        return f"{self.decimal_text()} {self.currency}"

    def decimal_text(self) -> str:
        """-> "20.00": plain decimal text with all of the currency's digits."""
        return decimal_text(self.minor_units, self.currency)

    def _beside(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise ValueError(f"{self} and {other} are not of one currency")
        return other.minor_units
