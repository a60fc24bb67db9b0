"""The admin port: clock, faults, webhooks, call log, state, scenario actions and an issuer of tokens, as JSON."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.sandbox.faults import Fault
from local.sandbox.issuer import Issuer
from local.sandbox.world import Json, ScenarioError, World

Action = Callable[..., Awaitable[Json]]
SWITCHES = ("duplicate", "reorder", "hold")


def server(world: World, config: Json, actions: Mapping[str, Mapping[str, Action]]) -> Starlette:
    """World, configuration and {provider: {action: function}} -> the ASGI app of the admin port."""
    admin = Admin(world, config, actions)
    issuer = Issuer(f"http://{config.get('host', '127.0.0.1')}:{config['ports']['admin']}/issuer")
    routes = [
        *issuer.routes(),
        Route("/clock", admin.read_clock),
        Route("/clock", admin.move_clock, methods=["POST"]),
        Route("/faults", admin.read_faults),
        Route("/faults", admin.add_fault, methods=["POST"]),
        Route("/faults", admin.clear_faults, methods=["DELETE"]),
        Route("/webhooks", admin.read_webhooks),
        Route("/webhooks", admin.switch_webhooks, methods=["POST"]),
        Route("/webhooks/flush", admin.flush_webhooks, methods=["POST"]),
        Route("/calls", admin.read_calls),
        Route("/calls", admin.clear_calls, methods=["DELETE"]),
        Route("/state/{kind}", admin.read_state),
        Route("/do/{provider}/{action}", admin.do, methods=["POST"]),
        Route("/reset", admin.reset, methods=["POST"]),
    ]
    refusals = {
        ScenarioError: _refusal(409),
        ValueError: _refusal(400),
        TypeError: _refusal(400),
        KeyError: _refusal(404),
    }
    return Starlette(routes=routes, exception_handlers=refusals)


def _refusal(status: int) -> Callable[[Request, Exception], JSONResponse]:
    def answer(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status)

    return answer


class Admin:
    """The admin port's handlers; each answers JSON."""

    def __init__(self, world: World, config: Json, actions: Mapping[str, Mapping[str, Action]]) -> None:
        self.world, self.config, self.actions = world, config, actions

    async def read_clock(self, _request: Request) -> JSONResponse:
        """-> {"now": ISO}."""
        return JSONResponse({"now": self.world.now().isoformat()})

    async def move_clock(self, request: Request) -> JSONResponse:
        """{"now": ISO} -> {"now", "fired": [names]}; forward only (409)."""
        to = datetime.fromisoformat((await _body(request))["now"])
        fired = await self.world.move_clock(to if to.tzinfo else to.replace(tzinfo=UTC))
        return JSONResponse({"now": self.world.now().isoformat(), "fired": fired})

    async def read_faults(self, _request: Request) -> JSONResponse:
        """-> the faults still switched on."""
        return JSONResponse([vars(fault) for fault in self.world.faults.active])

    async def add_fault(self, request: Request) -> JSONResponse:
        """{"provider", "kind", "path"?, "times"?, "seconds"?} -> the fault."""
        fault = Fault(**await _body(request))
        self.world.faults.add(fault)
        return JSONResponse(vars(fault))

    async def clear_faults(self, _request: Request) -> JSONResponse:
        """Switch all faults off."""
        self.world.faults.clear()
        return JSONResponse({})

    async def read_webhooks(self, _request: Request) -> JSONResponse:
        """-> the delivery log."""
        return JSONResponse(self.world.webhooks.log())

    async def switch_webhooks(self, request: Request) -> JSONResponse:
        """{"provider", "duplicate"?, "reorder"?, "hold"?} -> the provider's switches."""
        wanted = await _body(request)
        provider = str(wanted.pop("provider"))
        if unknown := wanted.keys() - set(SWITCHES):
            raise ValueError(f"Unknown switches: {', '.join(sorted(unknown))}")
        return JSONResponse(self.world.webhooks.switch(provider, **wanted))

    async def flush_webhooks(self, request: Request) -> JSONResponse:
        """{"provider"} -> {"sent": how many deliveries were tried}."""
        return JSONResponse({"sent": await self.world.webhooks.flush((await _body(request))["provider"])})

    async def read_calls(self, request: Request) -> JSONResponse:
        """?provider= -> the calls received, newest last."""
        wanted = request.query_params.get("provider")
        return JSONResponse([call for call in self.world.faults.calls if wanted in (None, call["provider"])])

    async def clear_calls(self, _request: Request) -> JSONResponse:
        """Forget the call log."""
        self.world.faults.calls.clear()
        return JSONResponse({})

    async def read_state(self, request: Request) -> JSONResponse:
        """Kind (as "stripe.customer") -> its objects, oldest first."""
        return JSONResponse(self.world.all(request.path_params["kind"]))

    async def do(self, request: Request) -> JSONResponse:
        """Run one scenario action with the JSON body as its arguments -> its result; 400/404/409 with {"error"}."""
        provider, name = request.path_params["provider"], request.path_params["action"]
        action = self.actions.get(provider, {}).get(name)
        if action is None:
            raise KeyError(f"No action {provider}/{name}; known: {sorted(self.actions.get(provider, {}))}")
        arguments = await _body(request)
        inspect.signature(action).bind(self.world, self.config, **arguments)
        return JSONResponse(await action(self.world, self.config, **arguments))

    async def reset(self, _request: Request) -> JSONResponse:
        """Forget everything, the clock's offset too."""
        self.world.reset()
        await self.world.webhooks.quiet()
        return JSONResponse({"now": self.world.now().isoformat()})


async def _body(request: Request) -> dict[str, Any]:
    if not await request.body():
        return {}
    body = await request.json()
    if not isinstance(body, dict):
        raise ValueError("The body must be a JSON object.")
    return body
