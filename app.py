"""The composition root: settings -> database, Redis, providers -> routes and their lifetime; and the command line.

Served by `uvicorn app:app`; `python -m app --help` lists the commands. Importing this module does nothing: the
application is put together when it is first asked for, and each command loads only what it needs.
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import Field
from pydantic_settings import BaseSettings

from resolvers.limits import LIMITS, RATE, Limits, Rate

if TYPE_CHECKING:
    import strawberry
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Scope

    from integrations.jwks import Jwks
    from models.ports import PartnerReads
    from models.rules.states import Role
    from resolvers.reads.run import Reader
    from resolvers.tokens import Tokens

ROOT = Path(__file__).resolve().parent
SDL = ROOT / "schema" / "schema.graphql"
EXPLORER = ROOT / "resolvers" / "explorer"
EXPLORER_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; font-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
MIGRATION_LOCK = 0x0D0EF10A
# the role's limits are for requests and jobs; a migration waits for its turn and takes its time
PATIENT = {"lock_timeout": "0", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
SECONDS_TO_ANSWER = 2.0


class Database(BaseSettings):
    """Where the data are; all that a command about migrations needs."""

    database_url: str


class Settings(Database):
    """What the deployment decides, from the environment. `sandbox_admin` is set on one machine only."""

    redis_url: str
    secret_key: str = Field(validation_alias="DUEFLOW_SECRET_KEY")
    env: Literal["development", "production"] = Field("production", validation_alias="DUEFLOW_ENV")
    public_url: str | None = Field(None, validation_alias="DUEFLOW_PUBLIC_URL")
    sandbox_admin: str | None = Field(None, validation_alias="DUEFLOW_SANDBOX_ADMIN")
    claim_url: str = Field("", validation_alias="DUEFLOW_CLAIM_URL")
    limits: Limits = Field(LIMITS, validation_alias="DUEFLOW_LIMITS")
    rate: Rate = Field(RATE, validation_alias="DUEFLOW_RATE")
    allowed_origins: list[str] = Field([], validation_alias="DUEFLOW_ALLOWED_ORIGINS")
    trusted_documents: str | None = Field(None, validation_alias="DUEFLOW_TRUSTED_DOCUMENTS")
    only_trusted: bool = Field(False, validation_alias="DUEFLOW_ONLY_TRUSTED")
    oidc_issuer: str | None = Field(None, validation_alias="DUEFLOW_OIDC_ISSUER")
    oidc_audience: str = Field("dueflow", validation_alias="DUEFLOW_OIDC_AUDIENCE")
    oidc_jwks_url: str | None = Field(None, validation_alias="DUEFLOW_OIDC_JWKS_URL")
    oidc_role_claim: str = Field("dueflow_role", validation_alias="DUEFLOW_OIDC_ROLE_CLAIM")
    oidc_user_claim: str = Field("dueflow_user", validation_alias="DUEFLOW_OIDC_USER_CLAIM")
    oidc_leeway: float = Field(5.0, ge=0, le=60, validation_alias="DUEFLOW_OIDC_LEEWAY_SECONDS")
    export_hours: int = Field(24, gt=0, le=24 * 30, validation_alias="DUEFLOW_EXPORT_HOURS")


def build(settings: Settings) -> "Starlette":
    """Settings -> the application. Nothing is connected before its lifespan begins."""
    from starlette.routing import Mount, Route

    from integrations.bell import ArqBell
    from integrations.bus import RedisBus
    from integrations.clock import SandboxClock, SystemClock
    from integrations.coursepro_calls import routes as coursepro_routes
    from integrations.logs import log_as_json
    from integrations.purse import RedisPurse
    from integrations.registry import COURSE_CALLS, Registry
    from integrations.shelf import RedisShelf
    from integrations.together import Together
    from integrations.webhooks import doors as webhook_doors
    from models.actions.inbound import receive, receive_all
    from models.actions.settings import clock_offset, refuse_blank
    from models.actions.unit import hang
    from models.actions.vault import Vault
    from models.tables.config import opened
    from resolvers.auth import Door
    from resolvers.context import Deployment
    from resolvers.exports import Exports
    from resolvers.gate import Gate, may_enter
    from resolvers.protocol.documents import Documents
    from resolvers.protocol.doors import Doors
    from resolvers.protocol.engine import Engine
    from resolvers.protocol.http import GraphQLOverHTTP
    from resolvers.protocol.origins import Origins
    from resolvers.protocol.persisted import Persisted, manifest
    from resolvers.protocol.websocket import GraphQLOverWebSocket
    from resolvers.reads.run import Reader
    from schema.root import schema

    log_as_json(pretty=settings.env == "development")
    vault = Vault(settings.secret_key)
    clock = SandboxClock(clock_offset) if settings.sandbox_admin else SystemClock()
    bus, bell = RedisBus(settings.redis_url), ArqBell(settings.redis_url)
    registry = Registry(vault, settings.sandbox_admin, clock=clock)
    limits = settings.limits
    documents = Documents(schema._schema, limits)
    origins = Origins(settings.public_url, *settings.allowed_origins)
    trusted = manifest(settings.trusted_documents) if settings.trusted_documents else {}
    for text in trusted.values():
        documents.prepare(text)  # one that cannot be run is found out now

    @asynccontextmanager
    async def lifespan(app: Doors) -> AsyncIterator[None]:
        async with AsyncExitStack() as until_the_end:
            await until_the_end.enter_async_context(opened(settings.database_url))
            await refuse_blank(vault)
            reader = await Reader.open(
                settings.database_url, schema, settings.secret_key, documents.admit, most=limits.page
            )
            until_the_end.push_async_callback(reader.close)
            app.state.gate = await Gate.open(settings.database_url, clock)
            until_the_end.push_async_callback(app.state.gate.close)
            until_the_end.push_async_callback(registry.close)
            hang(bell)
            until_the_end.push_async_callback(bell.close)
            app.state.accounts = Together(settings.redis_url)
            until_the_end.push_async_callback(app.state.accounts.close)
            await bus.start()
            until_the_end.push_async_callback(bus.stop)
            if isinstance(clock, SandboxClock):
                await clock.refresh()
                ticking = asyncio.create_task(clock.run())
                until_the_end.callback(ticking.cancel)
            sandbox = settings.sandbox_admin is not None
            purse = RedisPurse(settings.redis_url, settings.rate.burst, settings.rate.per_second)
            shelf = RedisShelf(settings.redis_url)
            jwks, tokens = _tokens(settings)
            for close in (purse.close, shelf.close, *(keys.close for keys in jwks)):
                until_the_end.push_async_callback(close)
            deployment = Deployment(
                reader,
                clock,
                bus,
                vault,
                sandbox=sandbox,
                claim_url=settings.claim_url,
                public_url=(settings.public_url or "").rstrip("/"),
                export_hours=settings.export_hours,
                limits=limits,
                purse=purse,
            )
            persisted = Persisted(shelf, trusted, only_trusted=settings.only_trusted)
            engine = Engine(schema._schema, documents, seconds=limits.seconds, persisted=persisted)
            door = Door(clock, tokens=tokens)
            for each in (door, app.state.gate.door):
                listening = asyncio.create_task(each.listen(bus))
                until_the_end.callback(listening.cancel)
            app.doors |= {
                ("http", "/graphql"): GraphQLOverHTTP(engine, door, deployment, origins=origins),
                ("websocket", "/graphql"): GraphQLOverWebSocket(engine, door, deployment, origins=origins),
            }
            app.state.parts = {"database": _database_answers, "redis": bus.ping}
            gc.collect()
            gc.freeze()  # the schema stays: no collection while a request waits need look through it
            yield

    return Doors(
        webhook_doors(registry, receive_all),
        routes=[
            *coursepro_routes(registry, receive, clock, COURSE_CALLS),
            Route("/gate/v1/may-enter", may_enter),
            Route("/exports/{file_id:uuid}", Exports(settings.secret_key, clock).fetch),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Mount("/explorer", explorer()),
        ],
        lifespan=lifespan,
    )


def _tokens(settings: Settings) -> "tuple[list[Jwks], Tokens | None]":
    """The issuer's keys to be closed in the end, and who reads its tokens; nothing and None where there is none."""
    from integrations.guard import Reach
    from integrations.http import Http
    from integrations.jwks import Jwks
    from resolvers.tokens import Issuer, Tokens

    if settings.oidc_issuer is None or settings.oidc_jwks_url is None:
        return [], None
    reach = Reach(local=settings.env == "development")
    jwks = Jwks(settings.oidc_jwks_url, Http("issuer", "", answer_seconds=SECONDS_TO_ANSWER, reach=reach))
    issuer = Issuer(
        settings.oidc_issuer,
        settings.oidc_audience,
        settings.oidc_role_claim,
        settings.oidc_user_claim,
        settings.oidc_leeway,
    )
    return [jwks], Tokens(issuer, jwks)


class ReadsForJobs:
    """What the API reads by, for a worker: opened when a job first asks, for the types take a second to load."""

    def __init__(self, database_url: str, secret: str) -> None:
        """The worker's DATABASE_URL and DUEFLOW_SECRET_KEY."""
        self._database_url, self._secret = database_url, secret
        self._turn = asyncio.Lock()
        self._reader: Reader | None = None

    async def __call__(self) -> "PartnerReads":
        """The reads, the same each time."""
        from resolvers.partners import Reads
        from resolvers.reads.run import Reader

        async with self._turn:
            if self._reader is None:
                schema = await asyncio.to_thread(_schema)
                self._reader = await Reader.open(self._database_url, schema, self._secret)
            return Reads(self._reader, self._secret)

    async def close(self) -> None:
        """Let the connections go."""
        if self._reader is not None:
            await self._reader.close()


def _schema() -> "strawberry.Schema":
    from schema.root import schema

    return schema


async def _database_answers() -> None:
    from tortoise.connection import get_connections

    await get_connections().get("default").execute_query("SELECT 1")


async def healthz(_request: "Request") -> "Response":
    """The process runs."""
    from starlette.responses import JSONResponse

    return JSONResponse({"status": "ok"})


async def readyz(request: "Request") -> "Response":
    """Whether what requests need answers in time: 200, or 503 naming what does not."""
    from starlette.responses import JSONResponse

    told = {}
    for name, ask in request.app.state.parts.items():
        try:
            async with asyncio.timeout(SECONDS_TO_ANSWER):
                await ask()
            told[name] = "ok"
        except Exception as error:
            told[name] = type(error).__name__
    return JSONResponse(told, 200 if set(told.values()) == {"ok"} else 503)


async def metrics(request: "Request") -> "Response":
    """What Prometheus collects: of this process, and of the providers' accounts while Redis answers."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
    from redis.exceptions import RedisError
    from starlette.responses import Response

    told = generate_latest()
    try:
        told += (await request.app.state.accounts.told()).encode()
    except (RedisError, OSError) as away:
        told += f"# accounts are not known: {type(away).__name__}\n".encode()
    return Response(told, media_type=CONTENT_TYPE_LATEST)


def explorer() -> "ASGIApp":
    """The explorer's files, which load nothing from elsewhere, and may not."""
    from starlette.responses import Response
    from starlette.staticfiles import StaticFiles

    class Explorer(StaticFiles):
        async def get_response(self, path: str, scope: "Scope") -> Response:
            response = await super().get_response(path, scope)
            response.headers.update(EXPLORER_HEADERS)
            return response

    return Explorer(directory=EXPLORER, html=True)


def __getattr__(name: str) -> Any:
    """`app:app`, put together when a server asks for it."""
    if name != "app":
        raise AttributeError(name)
    return globals().setdefault("app", build(Settings()))


cli = typer.Typer(help="Dueflow's own commands.", no_args_is_help=True, pretty_exceptions_show_locals=False)


@cli.command()
def migrate() -> None:
    """Bring the database of DATABASE_URL up to date; of several that try at once, one does it and the others wait."""
    asyncio.run(_migrate(Database().database_url))


async def _migrate(database_url: str) -> None:
    import asyncpg
    from tortoise import Tortoise
    from tortoise.backends.base.config_generator import expand_db_url
    from tortoise.migrations.api.migrate import migrate as bring_up_to_date

    from models.tables.config import tortoise_config

    config = tortoise_config(database_url)
    connection = config["connections"]["default"] = expand_db_url(config["connections"]["default"])
    connection["credentials"]["server_settings"] = PATIENT
    lock = await asyncpg.connect(database_url, server_settings=PATIENT)
    try:
        await lock.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        await bring_up_to_date(config=config)
    finally:
        await Tortoise.close_connections()
        await lock.close()


@cli.command()
def migrations(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where one is missing.")] = False,
) -> None:
    """Write the migrations that the tables have become different without."""
    missing = asyncio.run(_migrations(write=not check))
    for name in missing:
        typer.echo(f"{'missing' if check else 'written'}: {name}")
    if not missing:
        typer.echo("The migrations make the tables as they are declared.")
    raise typer.Exit(1 if check and missing else 0)


async def _migrations(*, write: bool) -> list[str]:
    from tortoise import Tortoise
    from tortoise.migrations.autodetector import MigrationAutodetector

    from models.tables.config import tortoise_config

    config = tortoise_config("postgres://nowhere/nothing")  # tables are compared with files, not with a database
    await Tortoise.init(config=config, init_connections=False)
    if Tortoise.apps is None:
        raise RuntimeError("Tortoise found no tables")
    detector = MigrationAutodetector(Tortoise.apps, config["apps"])
    if write:
        return await detector.write()
    return [writer.name for writer in await detector.changes()]


@cli.command()
def sdl(
    write: Annotated[bool, typer.Option("--write", help="Put it into schema/schema.graphql.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail where schema/schema.graphql is another.")] = False,
    breaking: Annotated[Path | None, typer.Option(help="Fail where clients of this file's SDL would break.")] = None,
) -> None:
    """Print the schema as GraphQL tells it."""
    from datetime import UTC, datetime

    from resolvers.promises import broken
    from schema.root import schema

    text = f"{schema.as_str()}\n"
    if breaking:
        for change in (changes := broken(breaking.read_text(), text, datetime.now(UTC).date())):
            typer.echo(change, err=True)
        raise typer.Exit(1 if changes else 0)
    if write:
        SDL.write_text(text)
    elif check:
        if not SDL.exists() or SDL.read_text() != text:
            typer.echo("schema/schema.graphql is out of date: run `python -m app sdl --write`.", err=True)
            raise typer.Exit(1)
    else:
        typer.echo(text, nl=False)


@cli.command()
def create_key(
    name: Annotated[str, typer.Argument(help="Who or what uses it.")],
    role: Annotated[str, typer.Option(help="ADMIN, FINANCE, FRONT_DESK or PARTNER.")] = "ADMIN",
) -> None:
    """Make an API key beside the API, the first one above all, and print it this once."""
    from models.rules.states import Role

    typer.echo(asyncio.run(_create_key(Database().database_url, name, Role(role))))


async def _create_key(database_url: str, name: str, role: "Role") -> str:
    from datetime import UTC, datetime

    from models.actions.keys import create_api_key
    from models.tables.config import opened

    async with opened(database_url):
        _, token = await create_api_key(name=name, role=role, acting="command line", at=datetime.now(UTC))
    return token


@cli.command()
def new_secret_key() -> None:
    """Print a fresh DUEFLOW_SECRET_KEY."""
    from cryptography.fernet import Fernet

    typer.echo(Fernet.generate_key().decode())


if __name__ == "__main__":
    cli()
