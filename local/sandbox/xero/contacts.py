"""Contacts: a name is unique among active ones, a contact number among all."""

from typing import Any

from local.sandbox.world import Json, World
from local.sandbox.xero.wire import Call, RefusedError, Reply, batch, instant, new_id, not_found, paged

CONTACT = "xero.contact"
LONGEST = {"Name": 255, "FirstName": 255, "LastName": 255, "EmailAddress": 255, "ContactNumber": 50}
STATUSES = {"ACTIVE", "ARCHIVED"}


def find(call: Call) -> Reply:
    """GET /Contacts (IDs, searchTerm, where, includeArchived, page)."""
    ids, term = call.listed("IDs"), call.query.get("searchTerm", "").casefold()
    archived_too = call.query.get("includeArchived") == "true"
    names = ("Name", "FirstName", "LastName", "EmailAddress", "ContactNumber")
    kept = [
        one
        for one in call.world.all(CONTACT)
        if (not ids or one["ContactID"] in ids)
        and (archived_too or one["ContactStatus"] == "ACTIVE")
        and any(term in one.get(name, "").casefold() for name in names)
    ]
    return paged(call, "Contacts", kept)


def read(call: Call) -> Reply:
    """GET /Contacts/{ContactID or ContactNumber}."""
    found = _by(call.world, "ContactID", call.id) or _by(call.world, "ContactNumber", call.id)
    return paged(call, "Contacts", [found]) if found else not_found()


def create(call: Call) -> Reply:
    """PUT /Contacts."""
    return batch(call, "Contacts", lambda given: _store(call.world, given, None), "HasValidationErrors")


def upsert(call: Call) -> Reply:
    """POST /Contacts: a known ContactID, ContactNumber or active name is updated, others are created."""
    return batch(call, "Contacts", lambda given: _store(call.world, given, known(call.world, given)), _FLAG)


def update(call: Call) -> Reply:
    """POST /Contacts/{ContactID}."""
    held = _by(call.world, "ContactID", call.id)
    return batch(call, "Contacts", lambda given: _store(call.world, given, held), _FLAG) if held else not_found()


_FLAG = "HasValidationErrors"


def known(world: World, given: Json) -> Json | None:
    """A contact as a document names it -> the stored one, by ContactID, else ContactNumber, else active name."""
    if given.get("ContactID"):
        found = _by(world, "ContactID", given["ContactID"])
        if found is None:
            raise RefusedError(f"The contact with ContactID {given['ContactID']} could not be found")
        return found
    by_number = _by(world, "ContactNumber", given["ContactNumber"]) if given.get("ContactNumber") else None
    return by_number or (_active_named(world, given["Name"]) if given.get("Name") else None)


def for_document(world: World, given: Any) -> Json:
    """A document's Contact -> the stored contact, created when only a new name is given."""
    if not isinstance(given, dict) or not any(given.get(name) for name in ("ContactID", "ContactNumber", "Name")):
        raise RefusedError("A Contact must be specified for this type of transaction")
    found = known(world, given) or _store(world, given, None)
    if found["ContactStatus"] == "ARCHIVED":
        raise RefusedError(f"The contact '{found['Name']}' is archived and cannot be used.")
    return found


def _store(world: World, given: Json, held: Json | None) -> Json:
    fields = {name: str(given[name]) for name in (*LONGEST, "ContactStatus") if given.get(name)}
    broken = [f"{name} is longer than {most}" for name, most in LONGEST.items() if len(fields.get(name, "")) > most]
    contact = {"ContactStatus": "ACTIVE", **(held or {}), **fields}
    if not contact.get("Name"):
        broken.append("The Contact Name cannot be empty.")
    if contact["ContactStatus"] not in STATUSES:
        broken.append("ContactStatus is not valid")
    if broken:
        raise RefusedError(*broken)
    contact.setdefault("ContactID", new_id(world))
    _check_unique(world, contact)
    contact["UpdatedDateUTC"] = instant(world.now())
    world.put(CONTACT, contact["ContactID"], contact)
    return contact


def _check_unique(world: World, contact: Json) -> None:
    name, number = contact["Name"], contact.get("ContactNumber")
    other = _active_named(world, name)
    if other and contact["ContactStatus"] == "ACTIVE" and other["ContactID"] != contact["ContactID"]:
        raise RefusedError(
            f"The contact name {name} is already assigned to another contact. "
            "The contact name must be unique across all active contacts."
        )
    other = _by(world, "ContactNumber", number) if number else None
    if other and other["ContactID"] != contact["ContactID"]:
        raise RefusedError(f"The contact number {number} is already assigned to another contact.")


def _active_named(world: World, name: str) -> Json | None:
    wanted = name.casefold()
    active = (one for one in world.all(CONTACT) if one["ContactStatus"] == "ACTIVE")
    return next((one for one in active if one["Name"].casefold() == wanted), None)


def _by(world: World, name: str, value: str) -> Json | None:
    return next((one for one in world.all(CONTACT) if one.get(name) == value), None)
