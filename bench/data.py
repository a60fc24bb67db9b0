"""The rows everything is measured on, made by SQL alone: a hundredth, a tenth, or all of a busy operator's books.

Ids rise with the rows, as those the application makes do, and can be told from a row's number.
"""

from uuid import UUID

CENTRE, KIND, USER, MEMBERSHIP, INVOICE, ITEM, SUBSCRIPTION, CLASS, ATTENDANCE, OTHER = range(1, 11)
# of the whole, so scale 100; a scale of 1 has a hundredth of each
PEOPLE, MEMBERSHIPS_EACH, INVOICES_EACH, LINES = 10_000, 2, 12, 3
SUBSCRIPTIONS, CLASSES_EACH, CENTRES = 100_000, 8, 5
_NOW = "now(), now()"


def uuid_of(kind: int, number: int) -> UUID:
    """The id of a kind's row number so-and-so, counted from 1."""
    return UUID(f"01900000-00{kind:02x}-7000-8000-{number:012x}")


def _id(kind: int, number: str) -> str:
    return f"('01900000-00{kind:02x}-7000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid"


def invoices(number: int) -> list[UUID]:
    """The ids of the invoices of `subscriptions`."""
    return [uuid_of(INVOICE, each) for each in range(1, number + 1)]


CATALOGUE = f"""
INSERT INTO centre (id, created_at, updated_at, name, zone, currency, practice_location, minutes_before, minutes_after)
  SELECT {_id(CENTRE, "n")}, {_NOW}, 'Centre ' || n, 'Europe/London', 'GBP', 'L' || n, 30, 30
  FROM generate_series(1, {CENTRES}) n;
INSERT INTO class_type (id, created_at, updated_at, name, practice_id)
  SELECT {_id(CLASS, "n")}, {_NOW}, 'Class type ' || n, 'C' || n FROM generate_series(1, {CENTRES}) n;
INSERT INTO membership_type (id, created_at, updated_at, name, integration, kind, product, centre_id)
  SELECT {_id(KIND, "n")}, {_NOW}, 'Type ' || n, 'NONE', 'ONGOING', 'prod_' || n, {_id(CENTRE, "n")}
  FROM generate_series(1, {CENTRES}) n;
INSERT INTO coverage (id, created_at, updated_at, membership_type_id, class_type_id, covered_from)
  SELECT gen_random_uuid(), {_NOW}, {_id(KIND, "n")}, {_id(CLASS, "n")}, '2020-01-01'
  FROM generate_series(1, {CENTRES}) n;
"""


# what the books know of invoices whose money came and was not spread yet
RECEIVED = f"""
INSERT INTO ledger_entry
  (id, created_at, updated_at, key, movement, debit, credit, amount, currency, at, user_id, invoice_id)
  SELECT gen_random_uuid(), {_NOW}, 'invoice:' || id || ':0:RECEIVED', 'RECEIVED', 'CASH', 'HELD', amount_paid,
    currency, now(), user_id, id FROM invoice ORDER BY id
"""


def _users(number: int) -> str:
    return f"""
INSERT INTO user_account (id, created_at, updated_at, first_name, last_name, email, email_key, state, version, fields)
  SELECT {_id(USER, "n")}, {_NOW}, 'First ' || n, 'Last ' || n % 997, 'p' || n || '@example.test',
    'p' || n || '@example.test', 'ACTIVE', 1, '{{}}' FROM generate_series(1, {number}) n;
"""


def people(scale: int) -> str:
    """SQL of users, two memberships each, twelve invoices each of three lines."""
    users = PEOPLE * scale // 100
    memberships, invoices = users * MEMBERSHIPS_EACH, users * INVOICES_EACH
    return f"""
{CATALOGUE}
{_users(users)}
INSERT INTO membership (id, created_at, updated_at, user_id, membership_type_id, centre_id, amount, currency, status,
  starts_on, next_fee_on, version)
  SELECT {_id(MEMBERSHIP, "n")}, {_NOW}, {_id(USER, f"1 + (n - 1) % {users}")}, {_id(KIND, f"1 + n % {CENTRES}")},
    {_id(CENTRE, f"1 + n % {CENTRES}")}, 3000 + n % 50, 'GBP', 'ACTIVE', date '2025-01-01' + n % 365,
    current_date + 30 + n % 30, 1
  FROM generate_series(1, {memberships}) n;
INSERT INTO invoice (id, created_at, updated_at, provider, external_id, number, membership_id, user_id, attendee_id,
  status, currency, amount_paid, amount_refunded, total, tax, discount, credit_used, credited, drawn, period_start,
  period_end, billed_off_at)
  SELECT {_id(INVOICE, "n")}, {_NOW}, 'STRIPE', 'in_' || n, 'N-' || n,
    {_id(MEMBERSHIP, f"1 + (n - 1) % {memberships}")}, {_id(USER, f"1 + (n - 1) % {users}")},
    {_id(USER, f"1 + (n - 1) % {users}")}, 'PAID', 'GBP', 3 * (1000 + n % 500), 0, 3 * (1000 + n % 500), 0, 0, 0, 0, 0,
    timestamptz '2025-01-01' + make_interval(months => (n - 1) / {users}),
    timestamptz '2025-02-01' + make_interval(months => (n - 1) / {users}), now()
  FROM generate_series(1, {invoices}) n;
INSERT INTO invoice_item (id, created_at, updated_at, invoice_id, external_id, position, description, amount, proration)
  SELECT {_id(ITEM, f"n * {LINES} + k")}, {_NOW}, {_id(INVOICE, "n")}, 'il_' || n || '_' || k, k, 'Line ' || k,
    1000 + n % 500, false
  FROM generate_series(1, {invoices}) n, generate_series(0, {LINES - 1}) k;
"""


def subscriptions(number: int) -> str:
    """SQL of people with a card subscription, its month over and paid, and eight classes of it attended."""
    kind = f"1 + n % {CENTRES}"
    return f"""
{CATALOGUE}
{_users(number)}
INSERT INTO external_link (id, created_at, updated_at, user_id, provider, kind, external_id, state, evidence)
  SELECT gen_random_uuid(), {_NOW}, {_id(USER, "n")}, 'NOOKAL', 'patient', n::text, 'LINKED', '{{}}'
  FROM generate_series(1, {number}) n;
INSERT INTO membership (id, created_at, updated_at, user_id, membership_type_id, centre_id, currency, status,
  starts_on, version)
  SELECT {_id(MEMBERSHIP, "n")}, {_NOW}, {_id(USER, "n")}, {_id(KIND, kind)}, {_id(CENTRE, kind)}, 'GBP', 'ACTIVE',
    date '2025-01-01', 1 FROM generate_series(1, {number}) n;
INSERT INTO subscription (id, created_at, updated_at, provider, external_id, customer, product, status, user_id,
  membership_id)
  SELECT {_id(SUBSCRIPTION, "n")}, {_NOW}, 'STRIPE', 'sub_' || n, 'cus_' || n, 'prod_' || {kind}, 'ACTIVE',
    {_id(USER, "n")}, {_id(MEMBERSHIP, "n")} FROM generate_series(1, {number}) n;
INSERT INTO class_session (id, created_at, updated_at, class_type_id, centre_id, starts_at, ends_at, source,
  external_ref)
  SELECT {_id(CLASS, f"100 + k * {CENTRES} + n")}, {_NOW}, {_id(CLASS, "n + 1")}, {_id(CENTRE, "n + 1")},
    timestamptz '2026-01-05 10:00Z' + make_interval(days => 3 * k),
    timestamptz '2026-01-05 11:00Z' + make_interval(days => 3 * k), 'NOOKAL', k || ':' || n
  FROM generate_series(0, {CENTRES - 1}) n, generate_series(0, {CLASSES_EACH - 1}) k;
INSERT INTO attendance (id, created_at, updated_at, class_session_id, user_id, membership_id, mark, source,
  invoiced_elsewhere)
  SELECT {_id(ATTENDANCE, f"n * {CLASSES_EACH} + k")}, {_NOW}, {_id(CLASS, f"100 + k * {CENTRES} + n % {CENTRES}")},
    {_id(USER, "n")}, {_id(MEMBERSHIP, "n")}, 'ATTENDED', 'NOOKAL', false
  FROM generate_series(1, {number}) n, generate_series(0, {CLASSES_EACH - 1}) k;
INSERT INTO invoice (id, created_at, updated_at, provider, external_id, number, subscription_id, membership_id, user_id,
  attendee_id, status, currency, amount_paid, amount_refunded, total, tax, discount, credit_used, credited, drawn,
  period_start, period_end)
  SELECT {_id(INVOICE, "n")}, {_NOW}, 'STRIPE', 'in_' || n, 'N-' || n, {_id(SUBSCRIPTION, "n")},
    {_id(MEMBERSHIP, "n")}, {_id(USER, "n")}, {_id(USER, "n")}, 'PAID', 'GBP', 10000 + n % 97, 0, 10000 + n % 97,
    0, 0, 0, 0, 0, '2026-01-01', '2026-02-01' FROM generate_series(1, {number}) n;
INSERT INTO invoice_item (id, created_at, updated_at, invoice_id, external_id, position, description, amount, product,
  proration)
  SELECT {_id(ITEM, "n")}, {_NOW}, {_id(INVOICE, "n")}, 'il_' || n, 0, 'Subscription', 10000 + n % 97,
    'prod_' || {kind}, false FROM generate_series(1, {number}) n;
{RECEIVED}
"""
