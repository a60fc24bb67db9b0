"""The operations that are asked, what a hand would write in SQL for each, and the variables they are asked with.

(t) and (s) are tiny; (a) is one person by id with memberships and the last five invoices with their lines; (b) a page
of fifty memberships as a connection, each with person and type; (c) a page of fifty invoices with lines, membership and
person. The SQL gives the whole body of the answer, byte for byte what our API answers.
"""

from dataclasses import dataclass

TINY = "{ __typename }"
NAME = "query Name($id: ID!) { user(by: {id: $id}) { id firstName lastName } }"
USER = (
    "query User($id: ID!) { user(by: {id: $id}) { id firstName lastName email"
    " memberships(first: 10) { nodes { id status startsOn type { id name } centre { name } } }"
    " invoices(last: 5) { nodes { id number status total { minorUnits currency }"
    " items { description amount { minorUnits currency } } } } } }"
)
MEMBERSHIPS = (
    "query Memberships($after: String) { memberships(first: 50, after: $after) { edges { node { id status startsOn"
    " user { id firstName lastName } type { id name } } } pageInfo { hasNextPage } } }"
)
INVOICES = (
    "query Invoices($after: String) { invoices(first: 50, after: $after) { nodes { id number status"
    " total { minorUnits currency } items { description amount { minorUnits currency } }"
    " membership { id user { firstName lastName } } } } }"
)


def _id(kind: str, column: str) -> str:
    return f"rtrim(encode(('{kind}:' || {column})::bytea, 'base64'), '=') AS id"


def _one(columns: str) -> str:
    return f"(SELECT o FROM (SELECT {columns}) o)"


def _many(columns: str, rows: str) -> str:
    return f"coalesce((SELECT array_to_json(array_agg(r)) FROM (SELECT {columns} FROM {rows}) r), '[]')"


def _money(amount: str, currency: str) -> str:
    return _one(f'{amount}::text AS "minorUnits", {currency} AS currency')


def _body(columns: str) -> str:
    return f"SELECT '{{\"data\":' || (SELECT to_json(o)::text FROM (SELECT {columns}) o) || '}}'"


_ITEMS = _many(
    f"t.description, {_money('t.amount', 'i.currency')} AS amount",
    "(SELECT * FROM invoice_item WHERE invoice_id = i.id ORDER BY position, id) t",
)
_INVOICE = (
    f"{_id('Invoice', 'i.id')}, i.number, i.status, {_money('i.total', 'i.currency')} AS total, {_ITEMS} AS items"
)
_MEMBERSHIPS_OF = _many(
    f'{_id("Membership", "m.id")}, m.status, m.starts_on AS "startsOn",'
    f" (SELECT o FROM (SELECT {_id('MembershipType', 'id')}, name FROM membership_type"
    " WHERE id = m.membership_type_id) o) AS type,"
    " (SELECT o FROM (SELECT name FROM centre WHERE id = m.centre_id) o) AS centre",
    "(SELECT * FROM membership WHERE user_id = u.id ORDER BY id LIMIT 10) m",
)
_LAST_INVOICES = _many(
    _INVOICE,
    "(SELECT * FROM (SELECT * FROM invoice WHERE user_id = u.id ORDER BY id DESC LIMIT 5) l ORDER BY id) i",
)
_USER = (
    "(SELECT o FROM (SELECT "
    f'{_id("User", "u.id")}, u.first_name AS "firstName", u.last_name AS "lastName", u.email,'
    f" {_one(_MEMBERSHIPS_OF + ' AS nodes')} AS memberships, {_one(_LAST_INVOICES + ' AS nodes')} AS invoices"
    ' FROM user_account u WHERE u.id = $1::uuid) o) AS "user"'
)
_NODE = _one(
    f'{_id("Membership", "m.id")}, m.status, m.starts_on AS "startsOn",'
    f' (SELECT o FROM (SELECT {_id("User", "id")}, first_name AS "firstName", last_name AS "lastName"'
    ' FROM user_account WHERE id = m.user_id) o) AS "user",'
    f" (SELECT o FROM (SELECT {_id('MembershipType', 'id')}, name FROM membership_type"
    " WHERE id = m.membership_type_id) o) AS type"
)
_AFTER = "id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')"
_EDGES = _many(f"{_NODE} AS node", f"(SELECT * FROM membership WHERE {_AFTER} ORDER BY id LIMIT 50) m")
_HAS_MORE = _one(f'EXISTS (SELECT 1 FROM membership WHERE {_AFTER} ORDER BY id OFFSET 50 LIMIT 1) AS "hasNextPage"')
_PAGE_OF_INVOICES = _many(
    f"{_INVOICE}, (SELECT o FROM (SELECT {_id('Membership', 'm.id')},"
    ' (SELECT o FROM (SELECT first_name AS "firstName", last_name AS "lastName"'
    ' FROM user_account WHERE id = m.user_id) o) AS "user"'
    " FROM membership m WHERE m.id = i.membership_id) o) AS membership",
    f"(SELECT * FROM invoice WHERE {_AFTER} ORDER BY id LIMIT 50) i",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """An operation, what stands for it in SQL (None where nothing is read), its variable, and what it is to reach.

    One that is tiny measures what a request costs before anything is read.
    """

    letter: str
    words: str
    document: str
    sql: str | None
    variable: str | None
    of_limit: float
    tiny: bool = False


SHAPES = (
    Shape("t", "`{ __typename }`", TINY, None, None, 0.8, tiny=True),
    Shape(
        "s",
        "a person's name",
        NAME,
        _body(
            f'(SELECT o FROM (SELECT {_id("User", "id")}, first_name AS "firstName", last_name AS "lastName"'
            ' FROM user_account WHERE id = $1::uuid) o) AS "user"'
        ),
        "id",
        0.8,
        tiny=True,
    ),
    Shape("a", "a person with memberships and invoices", USER, _body(_USER), "id", 0.9),
    Shape(
        "b",
        "a page of 50 memberships",
        MEMBERSHIPS,
        _body(_one(f'{_EDGES} AS edges, {_HAS_MORE} AS "pageInfo"') + " AS memberships"),
        "after",
        0.9,
    ),
    Shape(
        "c",
        "a page of 50 invoices",
        INVOICES,
        _body(_one(f"{_PAGE_OF_INVOICES} AS nodes") + " AS invoices"),
        "after",
        0.9,
    ),
)
