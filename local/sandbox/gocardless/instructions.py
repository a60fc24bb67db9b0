"""What becomes of an instruction without its payer's doing: moved to another bank, replaced, ended, blocked."""

from local.sandbox.gocardless import people
from local.sandbox.gocardless.account import Account
from local.sandbox.gocardless.requests import TEST_BANK
from local.sandbox.gocardless.simulators import walk_mandate
from local.sandbox.gocardless.wire import state_error
from local.sandbox.world import Json

ENDS = ("failed", "expired", "blocked")


def transfer(account: Account, mandate: Json) -> Json:
    """The payer moved to another bank, which took the mandate along: it stays in use, on the new account."""
    _only_active(mandate, "transferred")
    before = account.read("customer_bank_accounts", mandate["links"]["customer_bank_account"])
    holder = {"account_holder_name": before["account_holder_name"], "links": before["links"]}
    now = people.create_bank_account(account, TEST_BANK | holder)
    mandate["links"]["customer_bank_account"] = now["id"]
    links = {"previous_customer_bank_account": before["id"], "new_customer_bank_account": now["id"]}
    account.save("mandates", mandate)
    account.tell("mandates", mandate, "transferred", "bank", "bank_account_transferred", links=links)
    return mandate


def replace(account: Account, mandate: Json) -> Json:
    """The creditor's scheme identifier changed -> the active mandate in its place, to which what waits moves."""
    _only_active(mandate, "replaced")
    links = {"customer_bank_account": mandate["links"]["customer_bank_account"]}
    wanted = {"links": links, "metadata": mandate["metadata"]}
    new = walk_mandate(account, account.read("mandates", people.create_mandate(account, wanted)["id"]), "active")
    for payment in account.newest_first("payments"):
        if payment["links"]["mandate"] == mandate["id"] and payment["status"] == "pending_submission":
            payment["links"]["mandate"] = new["id"]
            account.save("payments", payment)
    account.save("mandates", mandate | {"status": "cancelled"})
    said = ("replaced", "gocardless", "scheme_identifier_changed")
    account.tell("mandates", mandate, *said, links={"new_mandate": new["id"]})
    return new


def end(account: Account, mandate: Json, status: str) -> Json:
    """The banks refuse the mandate, it was not used for long, or it is blocked."""
    if status in ("failed", "expired"):
        return walk_mandate(account, mandate, status)
    _only_active(mandate, status)
    return people.move_mandate(account, mandate, status)


def reinstate(account: Account, mandate: Json) -> Json:
    """The bank finds that the mandate was cancelled by mistake: it is active again, at once."""
    if mandate["status"] not in people.INACTIVE:
        raise state_error("mandate_not_inactive", "Mandate is already active or being submitted")
    mandate["status"] = "active"
    account.save("mandates", mandate)
    account.tell("mandates", mandate, "reinstated", "bank", "mandate_reinstated")
    return mandate


def _only_active(mandate: Json, to: str) -> None:
    if mandate["status"] != "active":
        raise state_error("invalid_mandate_state", f"A mandate that is {mandate['status']} cannot become {to}")
