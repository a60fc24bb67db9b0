"""Money: shares sum exactly and differ by one unit at most, and text round-trips."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules import money
from models.rules.money import EXPONENT, Money, decimal_text, exponent, from_decimal, split

amounts = st.integers(-(10**9), 10**9)
currencies = st.sampled_from(sorted(EXPONENT))


@given(amounts, st.integers(1, 500))
def test_shares_sum_to_the_amount_spread_by_one_with_the_extras_at_the_end(amount: int, parts: int) -> None:
    shares = split(amount, parts)
    assert len(shares) == parts
    assert sum(shares) == amount
    sizes = [abs(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes)
    assert all(share * amount >= 0 for share in shares)


@given(amounts, st.integers(1, 500))
def test_a_negative_amount_is_the_mirror_of_its_positive(amount: int, parts: int) -> None:
    assert split(-amount, parts) == [-share for share in split(amount, parts)]


@pytest.mark.parametrize("parts", [0, -1])
def test_nothing_is_split_into_no_parts(parts: int) -> None:
    with pytest.raises(ValueError, match="parts"):
        split(100, parts)


@given(amounts, currencies)
def test_decimal_text_reads_back_as_the_same_amount(amount: int, currency: str) -> None:
    text = decimal_text(amount, currency)
    assert from_decimal(text, currency) == amount
    assert len(text.partition(".")[2]) == exponent(currency)


@pytest.mark.parametrize(
    ("minor_units", "currency", "text"),
    [
        (2000, "GBP", "20.00"),
        (5, "USD", "0.05"),
        (-5, "USD", "-0.05"),
        (0, "EUR", "0.00"),
        (2000, "JPY", "2000"),
        (-1, "KWD", "-0.001"),
    ],
)
def test_decimal_text(minor_units: int, currency: str, text: str) -> None:
    assert Money(minor_units, currency).decimal_text() == text
    assert str(Money(minor_units, currency)) == f"{text} {currency}"


@pytest.mark.parametrize(
    ("text", "currency", "minor_units"),
    [("20", "GBP", 2000), ("20.5", "GBP", 2050), ("20.0000", "GBP", 2000), ("19.99", "GBP", 1999), ("7.0", "JPY", 7)],
)
def test_a_vendors_decimal_is_read_exactly(text: str, currency: str, minor_units: int) -> None:
    assert from_decimal(text, currency) == minor_units


@pytest.mark.parametrize("text", ["", "1e3", "1,000.00", "+1", " 1", "1.", ".5", "NaN", "١", "1_0", "--1"])
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a decimal amount"):
        from_decimal(text, "GBP")


def test_digits_a_currency_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="more than the 2 digits of GBP"):
        from_decimal("20.001", "GBP")
    with pytest.raises(ValueError, match="more than the 0 digits of JPY"):
        from_decimal("0.5", "JPY")


@pytest.mark.parametrize("currency", ["gbp", "XXX", "", "ISK"])
def test_an_unknown_currency_is_refused(currency: str) -> None:
    with pytest.raises(ValueError, match="not a currency known here"):
        Money(1, currency)


@given(amounts, amounts)
def test_money_of_one_currency_adds_subtracts_and_compares(a: int, b: int) -> None:
    left, right = Money(a, "GBP"), Money(b, "GBP")
    assert left + right == Money(a + b, "GBP")
    assert left - right == Money(a - b, "GBP") == left + -right
    assert (left < right, left <= right, left > right, left >= right) == (a < b, a <= b, a > b, a >= b)
    assert bool(left) == (a != 0)


def test_money_of_two_currencies_does_not_mix() -> None:
    pound, dollar = Money(1, "GBP"), Money(1, "USD")
    assert pound != dollar
    for mix in (lambda: pound + dollar, lambda: pound - dollar, lambda: pound < dollar):
        with pytest.raises(ValueError, match="not of one currency"):
            mix()


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(money) == doctest.TestResults(failed=0, attempted=2)
