"""Handlers every kind of object shares: read one, change plain fields, list, search."""

from typing import Any

from local.sandbox.stripe.account import Account
from local.sandbox.stripe.wire import PAGING, Parser, integer, page, searched, span, text, within
from local.sandbox.world import Json

Routes = dict[tuple[str, str], tuple[Any, dict[str, Parser], tuple[str, ...]]]
LIST: dict[str, Parser] = PAGING | {"created": span}
SEARCH: dict[str, Parser] = {"query": text, "limit": integer, "page": text}


def reader(kind: str) -> Any:
    """Object name -> the handler that answers one by id."""
    return lambda account, _params, id: account.read(kind, id)  # noqa: A006 - the path's word


def updater(kind: str, event: str | None = None) -> Any:
    """Object name -> the handler that changes plain fields and metadata, and tells `event`."""

    return lambda account, params, id: account.update(kind, id, params, event)  # noqa: A006 - the path's word


def lister(kind: str, url: str) -> Any:
    """Object name and path -> the handler that lists them newest first, by equal fields and `created`."""

    def list_them(account: Account, params: Json) -> Json:
        equal = {name: value for name, value in params.items() if name not in (*PAGING, "created")}
        found = account.newest_first(kind, **equal)
        return page([one for one in found if within(one.get("created", 0), params.get("created", {}))], params, url)

    return list_them


def searcher(kind: str, url: str) -> Any:
    """Object name and path -> the handler of the search query language's plain equalities."""

    def search(account: Account, params: Json) -> Json:
        return searched(account.newest_first(kind), params["query"], url) | {"url": url}

    return search
