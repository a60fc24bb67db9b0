"""`python -m local.sandbox CONFIG.json`: five providers and the admin port on six loopback ports until SIGTERM.

Prints "sandbox ready" when every port answers.
"""

import asyncio
import contextlib
import importlib
import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from local.sandbox import admin
from local.sandbox.world import Json, World, guarded

PROVIDERS = ("stripe", "gocardless", "coursepro", "nookal", "xero")
SECONDS_TO_END = 1


class Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to the process it shares with the others."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port and say so."""
        await super().startup(sockets)
        self.answers.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


def listen(app: ASGIApp, host: str, port: int) -> Server:
    """App and port -> a server for it, not yet started."""
    options = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )
    return Server(options)


def wire(world: World, config: Json) -> dict[str, ASGIApp]:
    """World and configuration -> {port name: its app}; a provider without a port is left out."""
    wanted = [name for name in PROVIDERS if name in config["ports"]]
    modules = {name: importlib.import_module(f"local.sandbox.{name}") for name in wanted}
    apps: dict[str, ASGIApp] = {
        name: guarded(world, name, module.server(world, config)) for name, module in modules.items()
    }
    return apps | {"admin": admin.server(world, config, {name: module.ACTIONS for name, module in modules.items()})}


async def serve(config: Json) -> None:
    """Configuration as the contract describes it -> runs until SIGTERM or SIGINT, then ends within two seconds."""
    world = World(Path(config["state"]))
    host = config.get("host", "127.0.0.1")
    servers = [listen(app, host, config["ports"][name]) for name, app in wire(world, config).items()]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = [asyncio.create_task(work) for work in (world.run(), world.webhooks.run())]
    serving = [asyncio.create_task(server.serve()) for server in servers]
    waiting = [asyncio.create_task(_say_ready(servers)), asyncio.create_task(stop.wait())]
    done, _ = await asyncio.wait([*running, *serving, waiting[1]], return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.should_exit = True
    await asyncio.wait(serving, timeout=SECONDS_TO_END + 0.5)
    for task in [*running, *serving, *waiting]:
        task.cancel()
    await asyncio.gather(*running, *serving, *waiting, return_exceptions=True)
    world.close()
    for task in done - {waiting[1]}:
        task.result()  # a background task that ended by itself ended in an error: let it be seen
        sys.exit(1)


async def _say_ready(servers: list[Server]) -> None:
    for server in servers:
        await server.answers.wait()
    print("sandbox ready", flush=True)


def main() -> None:
    """Read the configuration named on the command line and serve it."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m local.sandbox CONFIG.json")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
