"""What somebody skilled would write in SQL to spread the invoices of `data.subscriptions`, and what it leaves behind.

Both statements know this one case alone: every invoice is paid, unbilled, its person's only one and spread for the
first time, and no class of it is left out. Ours asks all of that of each invoice.
"""

# what is shared over the classes attended within the period, the last of them carrying the remainder
_SHARES = """
class AS (
    SELECT i.*, m.membership_type_id, a.id AS attendance_id,
        row_number() OVER each - 1 AS position, count(*) OVER (PARTITION BY i.id) AS classes
    FROM mine i JOIN membership m ON m.id = i.membership_id
    JOIN attendance a ON a.user_id = i.attendee_id AND a.mark = 'ATTENDED' AND NOT a.invoiced_elsewhere
    JOIN class_session c ON c.id = a.class_session_id AND c.deleted_at IS NULL
        AND c.starts_at >= i.period_start AND c.starts_at < i.period_end
    WHERE EXISTS (SELECT 1 FROM coverage v WHERE v.membership_type_id = m.membership_type_id
        AND v.class_type_id = c.class_type_id AND v.covered_from <= c.starts_at
        AND (v.covered_until IS NULL OR v.covered_until > c.starts_at))
    WINDOW each AS (PARTITION BY i.id ORDER BY c.starts_at, a.id)
), share AS MATERIALIZED (
    SELECT *, amount / classes + (position >= classes - amount % classes)::int AS part FROM class
)"""
_MINE = """
    SELECT id, currency, user_id, attendee_id, subscription_id, membership_id, period_start, period_end,
        amount_paid - amount_refunded - credited + credit_used AS amount
    FROM invoice WHERE billed_off_at IS NULL"""
SHARES_ALONE = f"""
WITH mine AS ({_MINE}
), {_SHARES}, made AS (
    INSERT INTO allocation (id, created_at, updated_at, invoice_id, version, kind, amount, currency, because, current)
    SELECT uuidv7(), now(), now(), id, 1, 'CLASSES', amount, currency, '[]', true FROM share WHERE position = 0
    RETURNING id, invoice_id
)
INSERT INTO allocation_share (id, created_at, updated_at, allocation_id, attendance_id, position, amount)
SELECT uuidv7(), now(), now(), made.id, share.attendance_id, share.position, share.part
FROM made JOIN share ON share.id = made.invoice_id
"""


def _step(rule: str, text: str, **figures: str) -> str:
    told = ", ".join(f"'{name}', {figure}" for name, figure in figures.items())
    return f"jsonb_build_object('rule', '{rule}', 'text', '{text}', 'figures', jsonb_build_object({told}))"


_STEPS = ",\n        ".join(
    (
        _step("R100", "the subscription it belongs to", subscription="i.subscription_id"),
        _step("R101", "the membership that is set up for it", membership="i.membership_id"),
        _step("R102", "the kinds of class that one covers", kinds="k.kinds"),
        _step("R103", "whose classes it pays for", user="i.attendee_id", patient="p.external_id"),
        _step("R106", "classes that remain, within the period", classes="s.classes"),
        _step("R109", "the amount charged is divided by the classes", amount="i.amount", classes="s.classes"),
        _step("R110", "the last classes carry the remainder", least="s.least", most="s.most"),
    )
)
# The invoices are locked, as news of one may come meanwhile; the steps are made once and stand in two tables.
ALL_OF_IT = f"""
WITH mine AS MATERIALIZED ({_MINE} ORDER BY id FOR UPDATE
), {_SHARES}, spread AS MATERIALIZED (
    SELECT i.*, uuidv7() AS version_id, s.shares, jsonb_build_array(
        {_STEPS}) AS because
    FROM (SELECT id, membership_type_id, classes, min(part) AS least, max(part) AS most,
        jsonb_agg(jsonb_build_array(attendance_id, part) ORDER BY position) AS shares
        FROM share GROUP BY id, membership_type_id, classes) s
    JOIN mine i USING (id)
    JOIN (SELECT membership_type_id, count(DISTINCT class_type_id) AS kinds FROM coverage GROUP BY 1) k
        USING (membership_type_id)
    JOIN external_link p ON p.user_id = i.attendee_id AND p.provider = 'NOOKAL' AND p.kind = 'patient'
        AND p.state = 'LINKED'
), made AS (
    INSERT INTO allocation (id, created_at, updated_at, invoice_id, version, kind, amount, currency, because, current)
    SELECT version_id, now(), now(), id, 1, 'CLASSES', amount, currency, because, true FROM spread
), shared AS (
    INSERT INTO allocation_share (id, created_at, updated_at, allocation_id, attendance_id, position, amount)
    SELECT uuidv7(), now(), now(), spread.version_id, share.attendance_id, share.position, share.part
    FROM spread JOIN share USING (id)
), booked AS (
    INSERT INTO ledger_entry
        (id, created_at, updated_at, key, movement, debit, credit, amount, currency, at, user_id, invoice_id)
    SELECT uuidv7(), now(), now(), 'invoice:' || id || ':' || b.number || ':ALLOCATED', 'ALLOCATED', 'HELD',
        'ALLOCATED', least(s.amount, b.came), s.currency, now(), s.user_id, id
    FROM spread s JOIN (SELECT e.invoice_id AS id, count(*) AS number,
        sum(CASE e.movement WHEN 'RECEIVED' THEN e.amount ELSE -e.amount END)::bigint AS came
        FROM ledger_entry e WHERE e.invoice_id IS NOT NULL GROUP BY e.invoice_id) b USING (id)
)
INSERT INTO audit_entry (id, created_at, updated_at, actor, verb, subject_type, subject_id, after, because, at)
SELECT uuidv7(), now(), now(), 'bench', 'allocate_invoice', 'Invoice', id,
    jsonb_build_object('version', 1, 'kind', 'CLASSES', 'amount', amount, 'shares', shares), because, now()
FROM spread
"""

SHARES_LEFT = """
SELECT count(*) || ':' || sum(hashtextextended(concat_ws(':', a.invoice_id, s.attendance_id, s.position, s.amount), 0))
FROM allocation a JOIN allocation_share s ON s.allocation_id = a.id WHERE a.current
"""


def _rows(table: str, *but: str) -> str:
    """The rows of a table as text, without what differs from run to run."""
    differs = ", ".join(("id", "created_at", "updated_at", *but))
    return f"SELECT (to_jsonb(t) - '{{{differs}}}'::text[])::text AS told FROM {table} t"


_SHARED = "(SELECT h.*, a.invoice_id FROM allocation_share h JOIN allocation a ON a.id = h.allocation_id)"
# every row of every table that is written to, to the last character of its JSON
ALL_LEFT = f"""
SELECT count(*) || ':' || sum(hashtextextended(told, 0)) FROM (
    {_rows(_SHARED, "allocation_id")}
    UNION ALL {_rows("allocation")}
    UNION ALL {_rows("ledger_entry", "at")}
    UNION ALL {_rows("audit_entry", "at")}
    UNION ALL {_rows("job", "key", "payload")}
    UNION ALL {_rows("invoice")}
) every
"""
