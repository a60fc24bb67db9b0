"""What changed over there since we last looked, told by Nookal's own stamps and not by our clock.

Nobody says in which zone `lastModified` is written and compared, and two clocks differ. So the place to go on from is
reckoned from the latest stamp Nookal has shown: it was that late over there, or later, when we saw it, and by as much
as has passed since. From that OVERLAP is taken off, for what was stamped before it could be read; the comparison over
there takes rows changed at an instant or later, so rows with one stamp are never parted.

    since, latest, seen_at    the stamp asked from, the latest shown, and when that was first seen here
    begun, page, after        of a reading under way: when it began, the page, the last row of it that was done with
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from integrations.nookal.wire import PAGE_LENGTH, Json, Wire, next_page, rows
from models.ports import Clock, Place

OVERLAP = timedelta(minutes=2)
FARTHEST_ZONE = timedelta(hours=26)  # a stamp that far ahead of us is a mistake: it would hide all that comes before
STAMP = "%Y-%m-%d %H:%M:%S"


class Since:
    """One reading of what changed, from a place on."""

    def __init__(self, wire: Wire, clock: Clock, function: str, name: str, column: str, place: Place) -> None:
        """Wire, clock, the function to call and its results key, the column its stamps are in, where to go on."""
        self._wire, self._clock, self._function, self._name, self._column = wire, clock, function, name, column
        self._since, self._latest, self._seen_at = (place.get(word, "") for word in ("since", "latest", "seen_at"))
        self._begun = place.get("begun") or clock.now().isoformat()
        self._page: str | None = place.get("page", "1")
        self._after = place.get("after", "")

    async def pages(self) -> AsyncIterator[list[Json]]:
        """The rows, page by page, without those that were done with."""
        while self._page:
            changed = {"last_modified": self._since} if self._since else {}
            envelope = await self._wire.read(self._function, **changed, page=self._page, page_length=str(PAGE_LENGTH))
            found = rows(envelope, self._name)
            self._look_at(found)
            ids = [str(row["ID"]) for row in found]
            yield found[ids.index(self._after) + 1 :] if self._after in ids else found
            following = next_page(envelope)
            self._page, self._after = (following if following != self._page else None), ""

    def after(self, row_id: str) -> Place:
        """Where to go on once this row of the present page is done with."""
        self._after = row_id
        under_way = {"begun": self._begun, "page": self._page or "1", "after": row_id}
        return {"since": self._since, "latest": self._latest, "seen_at": self._seen_at, **under_way}

    def end(self) -> Place:
        """Where to go on once everything was read."""
        if not self._latest:
            return {}
        passed = datetime.fromisoformat(self._begun) - datetime.fromisoformat(self._seen_at)
        since = datetime.fromisoformat(self._latest) + passed - OVERLAP
        return {"since": since.strftime(STAMP), "latest": self._latest, "seen_at": self._seen_at}

    def _look_at(self, found: list[Json]) -> None:
        now = self._clock.now()
        for row in found:
            try:
                stamp = datetime.fromisoformat(str(row.get(self._column))).replace(tzinfo=None)
            except ValueError:
                continue  # "0000-00-00 00:00:00", or none
            if stamp.isoformat() > self._latest and stamp < now.replace(tzinfo=None) + FARTHEST_ZONE:
                self._latest, self._seen_at = stamp.isoformat(), now.isoformat()
