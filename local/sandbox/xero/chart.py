"""The organisation, its chart of accounts and its tax rates."""

from decimal import Decimal

from local.sandbox.world import Json, World
from local.sandbox.xero.wire import Call, RefusedError, Reply, instant, new_id, paged, wrapped

ACCOUNT = "xero.account"
FIRST_ACCOUNTS = [  # code, name, type, tax type
    ("090", "Business Bank Account", "BANK", "NONE"),
    ("091", "Payment Provider Clearing", "BANK", "NONE"),
    ("200", "Sales", "REVENUE", "OUTPUT"),
    ("205", "Memberships", "REVENUE", "EXEMPTOUTPUT"),
    ("260", "Other Revenue", "REVENUE", "OUTPUT"),
    ("404", "Bank Fees", "EXPENSE", "EXEMPTEXPENSES"),
]
TAX_PERCENT = {  # tax type -> percent
    "OUTPUT": Decimal(10),
    "EXEMPTOUTPUT": Decimal(0),
    "BASEXCLUDED": Decimal(0),
    "NONE": Decimal(0),
}


def seed(world: World) -> None:
    """Give an empty world its chart of accounts."""
    if not world.all(ACCOUNT):
        for code, name, kind, tax in FIRST_ACCOUNTS:
            store(world, code, name, kind, tax)


def store(world: World, code: str, name: str, kind: str, tax: str) -> Json:
    """Code, name, type, tax type -> the stored account."""
    row = {
        "AccountID": new_id(world),
        "Code": code,
        "Name": name,
        "Type": kind,
        "TaxType": tax,
        "Status": "ACTIVE",
        "UpdatedDateUTC": instant(world.now()),
    }
    world.put(ACCOUNT, code, row)
    return row


def revenue(world: World, code: str) -> Json:
    """Code -> the account a sales line may name; RefusedError otherwise."""
    account = world.get(ACCOUNT, code)
    if account is None or account["Status"] != "ACTIVE" or account["Type"] != "REVENUE":
        raise RefusedError(f"Account code '{code}' is not a valid code for this document.")
    return account


def bank(world: World, given: Json) -> Json:
    """{Code} or {AccountID} -> the account a payment may go to; RefusedError otherwise."""
    wanted = {name: given[name] for name in ("Code", "AccountID") if given.get(name)}
    if not wanted:
        raise RefusedError("Account could not be found")
    for account in world.all(ACCOUNT):
        if wanted.items() <= account.items() and account["Type"] == "BANK" and account["Status"] == "ACTIVE":
            return account
    raise RefusedError("Account is not valid for payments")


def accounts(call: Call) -> Reply:
    """GET /Accounts."""
    return paged(call, "Accounts", call.world.all(ACCOUNT))


def organisation(call: Call) -> Reply:
    """GET /Organisation."""
    only = {
        "OrganisationID": call.tenant_id,
        "Name": "Dueflow",
        "CountryCode": "AU",
        "BaseCurrency": "AUD",
        "OrganisationStatus": "ACTIVE",
        "Timezone": "AUSEASTERNSTANDARDTIME",
    }
    return wrapped(call, "Organisations", [only])
