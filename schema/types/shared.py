"""Small objects that many types carry."""

import strawberry

from models.rules.money import EXPONENT
from resolvers.reads.declare import column, made_of, parts
from schema.scalars import BigInt, CurrencyCode, Decimal


def _decimal() -> str:
    """SQL of `{row}.minor` as plain decimal text with all of the digits `{row}.currency` has."""
    odd = {digits: sorted(code for code, known in EXPONENT.items() if known == digits) for digits in (0, 3)}
    words = {digits: ", ".join(f"'{code}'" for code in codes) for digits, codes in odd.items()}
    return (
        f"CASE WHEN {{row}}.currency IN ({words[0]}) THEN {{row}}.minor::text"
        f" WHEN {{row}}.currency IN ({words[3]}) THEN ({{row}}.minor * 0.001)::text"
        " ELSE ({row}.minor * 0.01)::text END"
    )


@strawberry.type(description="An amount of one currency.")
class Money:
    """The same amount as decimal text and as minor units."""

    amount: Decimal = column('As a decimal number with all of the currency\'s digits: "20.00".', _decimal())
    minor_units: BigInt = column('In the currency\'s smallest unit: "2000".', "{row}.minor")
    currency: CurrencyCode = column("Of which currency.")


def money(description: str, amount: str = "amount", currency: str = "{parent}.currency") -> Money:
    """An amount column with a currency beside it."""
    made: Money = made_of(description, minor=f"{{parent}}.{amount}", currency=currency)
    return made


@strawberry.type(description="A name with its value as text.")
class NamedValue:
    """One entry of a small record."""

    name: str = column("The name.")
    value: str | None = column("The value as text; null where there is none.")


def named_values(description: str, record: str) -> list[NamedValue]:
    """The entries of a JSON object; an SQL expression over `{parent}`."""
    entries = f"jsonb_each_text({record}) WITH ORDINALITY f(name, value, place)"
    source = f"SELECT f.name, f.value, f.place FROM {entries}"  # noqa: S608  written by declarations alone
    made: list[NamedValue] = parts(description, source, order="{row}.place")
    return made


@strawberry.type(description="One step of how a rule came to its answer.")
class Step:
    """A rule applied, with the figures it used."""

    rule: str | None = column("The rule's number; null where a person or a provider gave the reason.")
    text: str = column("What was found, in words.")
    figures: list[NamedValue] = named_values("The figures it used; amounts in minor units.", "{parent}.figures")


def steps(description: str, column_name: str = "because") -> list[Step]:
    """The explanation stored in a JSON list."""
    listed = f"jsonb_array_elements({{parent}}.{column_name}) WITH ORDINALITY s(step, place)"
    text = "coalesce(s.step ->> 'text', s.step #>> '{}')"
    values = f"s.step ->> 'rule' AS rule, {text} AS text, s.step -> 'figures' AS figures, s.place"
    source = f"SELECT {values} FROM {listed}"  # noqa: S608  written by declarations alone
    made: list[Step] = parts(description, source, order="{row}.place")
    return made
