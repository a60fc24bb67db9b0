"""The application around the endpoints that nearly every request goes to."""

from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

Place = tuple[str, str]  # the kind of a scope and its whole path: ("http", "/graphql")


class Doors(Starlette):
    """Leads to `doors`, plain ASGI endpoints each at one place, before any middleware and routing."""

    def __init__(self, doors: Mapping[Place, ASGIApp], **options: Any) -> None:
        super().__init__(**options)
        self.doors = dict(doors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        door = self.doors.get((scope["type"], scope.get("path", "")))  # a lifespan has no path
        if door is None:
            await super().__call__(scope, receive, send)
        else:
            await door(scope, receive, send)
