"""Nookal's v2 wire: every call a form posted to a function's name, every answer an envelope, refusals with HTTP 200.

Numbers come as text, a list of one as the bare object, the page after this one in `settings` or in `details`; an
unknown function and an overloaded server answer with a page of HTML.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from integrations.guard import Reach
from integrations.http import ANSWER_SECONDS, Effect, Http, content, refusal
from integrations.pace import Free
from models.ports import Refused

API_BASE = "https://api.nookal.com"
PAGE_LENGTH = 200
Json = dict[str, Any]


class Wire:
    """Calls Nookal's functions."""

    def __init__(
        self,
        api_key: str,
        *,
        api_base: str = API_BASE,
        answer_seconds: float = ANSWER_SECONDS,
        reach: Reach | None = None,
        pace: Free | None = None,
    ) -> None:
        """Key, address of the API, seconds to wait for an answer, how far it reaches, the gate of each call."""
        self._key, base = api_key, f"{api_base}/production/v2"
        self._http = Http("nookal", base, answer_seconds=answer_seconds, reach=reach, pace=pace)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.close()

    async def read(self, function: str, **parameters: str) -> Json:
        """(function, parameters) -> its envelope. Raises Refused, Unavailable."""
        form = {"api_key": self._key, **parameters}
        return _opened(function, await self._http.read("POST", f"/{function}", data=form), Effect.READ)

    async def write(self, function: str, form: Mapping[str, str]) -> Json:
        """(function, parameters) -> its results; sent once. Raises Refused, Unavailable, OutcomeUnknown."""
        answer = await self._http.write("POST", f"/{function}", data={"api_key": self._key, **form})
        return results(_opened(function, answer, Effect.WRITE), Effect.WRITE)

    async def pages(self, function: str, name: str, **parameters: str) -> AsyncIterator[list[Json]]:
        """(function, results key, parameters) -> its rows, page by page."""
        page: str | None = "1"
        while page:
            envelope = await self.read(function, **parameters, page=page, page_length=str(PAGE_LENGTH))
            yield rows(envelope, name)
            following = next_page(envelope)
            page = following if following != page else None


def results(envelope: Json, effect: Effect = Effect.READ) -> Json:
    """A success envelope -> its results."""
    data = envelope.get("data")
    found = data.get("results") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise effect.lost("Nookal's answer holds no results.")
    return found


def rows(envelope: Json, name: str) -> list[Json]:
    """A success envelope -> the rows under `name`; one row may come as the bare object."""
    found = results(envelope).get(name) or []
    return [found] if isinstance(found, dict) else list(found)


def next_page(envelope: Json) -> str | None:
    """A success envelope -> the number of the page after this one, as text; None on the last."""
    for place in ("settings", "details"):
        told = envelope.get(place)
        if isinstance(told, dict) and told.get("nextPage"):
            return str(told["nextPage"])
    return None


def _opened(function: str, answer: httpx.Response, effect: Effect) -> Json:
    if not answer.is_success:
        raise refusal("Nookal", answer)
    envelope = content(answer, effect)
    if envelope.get("status") == "success":
        return envelope
    details = envelope.get("details")
    if envelope.get("status") != "failure" or not isinstance(details, dict):
        raise effect.lost(f"Nookal answered {function} with no envelope of its own.")
    said = [details.get("errorMessage"), *(details.get("alerts") or ())]
    message = "; ".join(str(one) for one in said if one)
    raise Refused(f"Nookal refused {function}: {message}", code=str(details.get("errorCode") or "FAILURE"))
