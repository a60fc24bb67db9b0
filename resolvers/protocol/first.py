"""The application around the endpoint that nearly every request goes to."""

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send


class GraphQLFirst(Starlette):
    """Hands /graphql to `state.graphql` before any middleware and routing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] != "lifespan" and scope["path"] == "/graphql":
            await self.state.graphql[scope["type"]](scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
