"""What the tables declare is what the migrated database has, and the database itself refuses what breaks it."""

from datetime import date, timedelta
from importlib import import_module
from typing import Any

import asyncpg
import pytest
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from models.tables.config import MODULES
from models.tables.row import Row, new_id
from tests.storage.conftest import LATER, NOON, OWN, Rows, foreign_keys

for _module in MODULES:
    import_module(_module)
TABLES: dict[str, type[Model]] = {model._meta.db_table: model for model in Row.__subclasses__()}
DECLARED = [(table, each) for table, model in TABLES.items() for each in model._meta.constraints]
CHECKS = {each.name: (table, each) for table, each in DECLARED if isinstance(each, CheckConstraint)}
UNIQUES = {each.name: (table, each) for table, each in DECLARED if isinstance(each, UniqueConstraint)}

# check: columns that break it, and nothing else, in a row that is valid otherwise.
BROKEN: dict[str, dict[str, Any]] = {
    "access_token_in_order": {"valid_until": NOON},
    "api_key_member_has_user": {"role": "MEMBER"},
    "api_key_previous_ends": {"previous_hash": "h"},
    "billing_policy_ahead": {"ahead_days": 61},
    "billing_policy_day_known": {"billing_day": 32},
    "billing_policy_grace": {"grace_hours": -1},
    "billing_policy_is_one": {"single": False},
    "booking_charge_not_negative": {"charge": -1},
    "booking_carried_within_charge": {"charge": 1, "carried": 2, "moved_from_id": OWN},
    "booking_carries_from_somewhere": {"charge": 1, "carried": 1},
    "booking_line_share_not_negative": {"share": -1},
    "booking_credits_not_negative": {"credits": -1},
    "centre_minutes_not_negative": {"minutes_before": -1},
    "class_session_in_order": {"ends_at": NOON},
    "correction_amount_positive": {"proposal": "CREDIT_NOTE", "amount": 0},
    "correction_credit_note_has_amount": {"amount": 1},
    "course_capacity_positive": {"capacity": 0},
    "course_notice_not_negative": {"notice_hours": -1},
    "course_offer_lasts": {"offer_hours": 0},
    "coverage_in_order": {"covered_until": NOON},
    "credit_entry_moves_something": {"delta": 0},
    "invoice_attended_where_paid": {"user_id": OWN, "attendee_id": None},
    "invoice_period_in_order": {"period_end": NOON},
    "invoice_refund_within_paid": {"amount_paid": 100, "amount_refunded": 101},
    "job_leased_has_lease": {"state": "LEASED"},
    "ledger_entry_about_one": {"invoice_id": OWN},
    "ledger_entry_amount_positive": {"amount": 0},
    "ledger_entry_between_two": {"credit": "CASH"},
    "ledger_entry_refund_of_payment": {"payment_id": None, "invoice_id": OWN, "refund_id": OWN},
    "membership_amount_not_negative": {"amount": -1},
    "membership_billing_day_known": {"billing_day": 0},
    "membership_days_in_order": {"ends_on": NOON.date() - timedelta(days=1)},
    "membership_type_product_has_centre": {"product": "prod_1"},
    "membership_type_grants_credits": {"credits_per_period": 0},
    "membership_type_sessions": {"kind": "SESSIONS"},
    "membership_type_term": {"kind": "FIXED_TERM"},
    "package_in_order": {"valid_until": NOON},
    "package_offer_has_credits": {"credits": 0},
    "package_offer_one_binding": {"class_type_id": OWN, "course_id": OWN},
    "package_offer_valid_for_a_day": {"valid_days": 0},
    "package_one_binding": {"class_type_id": OWN, "course_id": OWN},
    "package_period_of_membership": {"period_start": NOON.date()},
    "payment_amount_positive": {"amount": 0},
    "payment_carried_is_carried": {"carried_by_id": OWN},
    "payment_is_for_one_thing": {"purpose": "BOOKING"},
    "price_override_amount_not_negative": {"amount": -1},
    "price_override_days_in_order": {"effective_from": NOON.date(), "effective_until": NOON.date()},
    "price_override_one_scope": {"centre_id": None},
    "payment_purpose_known": {"purpose": "NONSENSE", "membership_id": None},
    "pricing_option_amount_not_negative": {"amount": -1},
    "sandbox_clock_is_one": {"single": False},
    "sandbox_clock_only_forward": {"ahead_seconds": -1},
    "shipment_corrects_or_bills": {"kind": "VOID"},
    "shipment_kind_known": {"kind": "NONSENSE", "correction_id": OWN},
    "shipment_shipped_has_id": {"state": "SHIPPED"},
    "refund_amount_positive": {"amount": 0},
    "user_account_version_rises": {"version": 0},
    "webhook_endpoint_off_says_why": {"enabled": False},
    "webhook_message_delivered_when": {"state": "DELIVERED"},
    "waiting_place_offer_ends": {"state": "OFFERED"},
}
# unique: columns a row needs to fall under it; and what takes a row out of it, where only some rows are under it.
UNDER: dict[str, dict[str, Any]] = {
    "access_token_live_once": {"revoked_at": None},
    "allocation_one_current": {"current": True},
    "booking_live_once": {"status": "CONFIRMED"},
    "class_session_once": {"external_ref": "cs_1"},
    "credit_entry_draw_once": {"booking_id": OWN, "class_session_id": OWN},
    "mandate_once": {"external_id": "MD1"},
    "mandate_request_once": {"request_id": "BRQ1"},
    "payment_fee_once_per_period": {"period_start": date(2026, 1, 1)},
    "payment_option_single_for_coursepro": {"coursepro": True},
    "payment_reference_once": {"reference": "PM1"},
    "package_once_per_period": {"membership_id": OWN, "period_start": date(2026, 1, 1)},
    "refund_reference_once": {"reference": "RF1"},
    "shipment_of_correction_once": {"correction_id": OWN},
    "price_override_once_per_centre": {"effective_from": date(2026, 1, 1)},
    "price_override_once_per_group": {
        "effective_from": date(2026, 1, 1), "setting_group_id": OWN, "centre_id": None,
    },
    "price_override_open_once_per_group": {"setting_group_id": OWN, "centre_id": None},
}  # fmt: skip
OUT: dict[str, dict[str, Any]] = {
    "access_token_live_once": {"revoked_at": NOON},
    "allocation_one_current": {"current": False},
    "booking_live_once": {"status": "RELEASED"},
    "correction_open_once": {"state": "APPLIED"},
    "coverage_open_once": {"covered_until": LATER},
    "credit_entry_draw_once": {"reverses_id": OWN},
    "external_link_once": {"state": "UNLINKED"},
    "external_link_one_per_user": {"state": "UNLINKED"},
    "payment_fee_once_per_period": {"status": "CANCELLED"},
    "payment_option_single_for_coursepro": {"coursepro": False},
    "price_override_open_once_per_centre": {"effective_from": date(2026, 1, 1)},
    "price_override_open_once_per_group": {"effective_from": date(2026, 1, 1)},
    "review_item_open_once": {"state": "SETTLED"},
    "shipment_once": {"correction_id": OWN},
    "waiting_place_once": {"state": "LEFT"},
}

# The same declaration written on an empty copy of the table, so that PostgreSQL words both in the same way.
_COPY = "CREATE TEMP TABLE copy_of_{table} (LIKE public.{table})"
_DEFINED = """
SELECT conname AS name, contype::text AS kind, pg_get_constraintdef(oid) AS said FROM pg_constraint
WHERE conrelid = $1::regclass AND contype IN ('c', 'u') AND NOT (contype = 'u' AND conname LIKE '%\\_key')
UNION ALL
SELECT c.relname, 'i', concat_ws(' ', (SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
  WHERE attrelid = i.indexrelid), pg_get_expr(i.indpred, i.indrelid))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1::regclass AND i.indisunique
  AND i.indpred IS NOT NULL
"""


async def _defined(connection: asyncpg.Connection, table: str) -> set[tuple[str, str, str]]:
    return {tuple(row) for row in await connection.fetch(_DEFINED, table)}


def _written(table: str, each: CheckConstraint | UniqueConstraint) -> str:
    if isinstance(each, CheckConstraint):
        return f"ALTER TABLE {table} ADD CONSTRAINT {each.name} CHECK ({each.check})"
    columns = ", ".join(each.fields)
    if each.condition:
        return f"CREATE UNIQUE INDEX {each.name} ON {table} ({columns}) WHERE {each.condition}"
    return f"ALTER TABLE {table} ADD CONSTRAINT {each.name} UNIQUE ({columns})"


async def test_every_table_is_declared_and_there(connection: asyncpg.Connection) -> None:
    there = {name for (name,) in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert there - {"tortoise_migrations"} == TABLES.keys()


@pytest.mark.parametrize("table", TABLES)
async def test_the_constraints_are_those_declared_by_name_kind_and_condition(table: str, rows: Rows) -> None:
    await rows.connection.execute(_COPY.format(table=table))
    for each in TABLES[table]._meta.constraints:
        await rows.connection.execute(_written(f"copy_of_{table}", each))
    assert await _defined(rows.connection, f"public.{table}") == await _defined(
        rows.connection, f"pg_temp.copy_of_{table}"
    )


@pytest.mark.parametrize("table", TABLES)
async def test_columns_keys_and_indexes_are_those_declared(
    table: str, connection: asyncpg.Connection, declared: dict[str, type[Model]]
) -> None:
    model = declared[table]
    columns = await connection.fetch(
        "SELECT column_name, is_nullable = 'YES' FROM information_schema.columns WHERE table_name = $1", table
    )
    projection = model._meta.fields_db_projection_reverse
    assert dict(columns) == {column: model._meta.fields_map[name].null for column, name in projection.items()}
    refers = await connection.fetch(
        "SELECT a.attname, confrelid::regclass::text, confdeltype::text FROM pg_constraint c"
        " JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = conkey[1]"
        " WHERE conrelid = $1::regclass AND contype = 'f'",
        table,
    )
    assert sorted(map(tuple, refers)) == sorted((column, to, "r") for column, to in foreign_keys(model))
    indexes = await connection.fetch(
        "SELECT i.indisunique, ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = i.indexrelid"
        " ORDER BY attnum) FROM pg_index i WHERE i.indrelid = $1::regclass AND i.indpred IS NULL"
        " AND i.indexprs IS NULL",  # an index of a condition stands in a migration alone, and plans of reads prove it
        table,
    )
    alone = {column: model._meta.fields_map[name] for column, name in projection.items()}
    expected: list[tuple[bool, tuple[Any, ...]]] = [(True, (column,)) for column, each in alone.items() if each.unique]
    expected += [(False, (column,)) for column, each in alone.items() if each.index and not each.unique]
    expected += [(False, tuple(each)) for each in model._meta.indexes if isinstance(each, tuple)]
    expected += [
        (True, tuple(each.fields))
        for each in model._meta.constraints
        if isinstance(each, UniqueConstraint) and not each.condition
    ]
    assert sorted((unique, tuple(names)) for unique, names in indexes) == sorted(expected)


@pytest.mark.parametrize("table", TABLES)
async def test_a_valid_row_goes_in(table: str, rows: Rows) -> None:
    put = await rows.put(table)
    assert await rows.connection.fetchval(f"SELECT id FROM {table}") is not None
    assert put["id"]


@pytest.mark.parametrize("name", CHECKS)
async def test_a_row_that_breaks_a_check_is_refused_by_its_name(name: str, rows: Rows) -> None:
    table, check = CHECKS[name]
    column = check.check.partition(" IN ")[0]
    broken = BROKEN.get(name, {column: "NONSENSE"})
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await rows.put(table, **broken)
    assert refused.value.constraint_name == name


def test_every_check_is_broken_once() -> None:
    assert {name for name in CHECKS if not name.endswith("_known")} <= BROKEN.keys() <= CHECKS.keys()
    assert UNDER.keys() <= UNIQUES.keys()
    assert OUT.keys() == {name for name, (_, each) in UNIQUES.items() if each.condition}


async def _under(rows: Rows, name: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The table, a row that stands under a unique constraint, and the columns that make another one its double."""
    table, unique = UNIQUES[name]
    first = await rows.valid(table, **UNDER.get(name, {}))
    await rows.put(table, **first)
    return table, first, {column: first[column] for column in unique.fields}


@pytest.mark.parametrize("name", UNIQUES)
async def test_a_double_is_refused_by_the_constraints_name(name: str, rows: Rows) -> None:
    table, _, double = await _under(rows, name)
    assert None not in double.values()
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await rows.put(table, **{**UNDER.get(name, {}), **double})
    assert refused.value.constraint_name == name


@pytest.mark.parametrize("name", OUT)
async def test_a_row_outside_the_condition_makes_room(name: str, rows: Rows) -> None:
    table, first, double = await _under(rows, name)
    out = await rows.valid(table, **OUT[name])
    changed = {column: out[column] for column in OUT[name]}
    for column, value in changed.items():
        await rows.connection.execute(f"UPDATE {table} SET {column} = $1 WHERE id = $2", value, first["id"])
    await rows.put(table, **{**UNDER.get(name, {}), **double})
    assert await rows.connection.fetchval(f"SELECT count(*) FROM {table} WHERE id = $1", first["id"]) == 1


@pytest.mark.parametrize("table", TABLES)
async def test_what_is_referred_to_exists_and_stays(table: str, rows: Rows) -> None:
    for column, to in foreign_keys(rows.declared[table]):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            async with rows.connection.transaction():
                await rows.put(table, **{column: new_id(), **_beside(table, column)})
        parent = await rows.put(to)
        await rows.put(table, **{column: parent["id"], **_beside(table, column)})
        with pytest.raises(asyncpg.RestrictViolationError):
            async with rows.connection.transaction():
                await rows.connection.execute(f"DELETE FROM {to} WHERE id = $1", parent["id"])


def _beside(table: str, column: str) -> dict[str, Any]:
    """What a row needs so that nothing but its reference matters."""
    beside: dict[tuple[str, str], dict[str, Any]] = {
        ("invoice", "user_id"): {"attendee_id": OWN},
        ("invoice", "attendee_id"): {"user_id": OWN},
        ("ledger_entry", "invoice_id"): {"payment_id": None},
        ("payment", "carried_by_id"): {"status": "CARRIED"},
        ("payment", "booking_id"): {"purpose": "BOOKING", "membership_id": None},
        ("payment", "package_id"): {"purpose": "PACKAGE", "membership_id": None},
        ("price_override", "setting_group_id"): {"centre_id": None},
    }
    return beside.get((table, column), {})


@pytest.mark.parametrize("change", ["UPDATE ledger_entry SET amount = amount + 1", "DELETE FROM ledger_entry"])
async def test_the_books_are_only_added_to(rows: Rows, change: str) -> None:
    await rows.put("ledger_entry")
    with pytest.raises(asyncpg.RestrictViolationError, match="never changed"):
        await rows.connection.execute(change)
