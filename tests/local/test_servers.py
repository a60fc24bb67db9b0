"""The bundled servers: found, started on empty data, private, limited, kept over a crash, gone afterwards."""

import asyncio
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import redis

from local import programs
from local.postgres import Postgres
from local.process import Child, Running
from local.servers import Pair, throwaway, wait_until_ready
from local.state import held_ports, is_free
from local.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]
DEBIANS = Path("/usr/lib/postgresql")


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def until(true: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where root's `nobody` gets to, which pytest's own folders are not."""
    path = Path(tempfile.mkdtemp(prefix="dueflow-test-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("idle_in_transaction_session_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("statement_timeout", "15s"),
        ("max_connections", "100"),
        ("timezone", "UTC"),
        ("server_encoding", "UTF8"),
    ],
)
async def test_every_connection_of_the_application_has_its_limits(servers: Pair, setting: str, expected: str) -> None:
    assert await value(servers.database_url, f"SHOW {setting}") == expected


async def test_only_this_machine_reaches_the_servers(servers: Pair) -> None:
    shown = "SELECT current_setting('listen_addresses') || '|' || current_setting('unix_socket_directories')"
    assert await value(servers.admin_url, shown) == "127.0.0.1|"
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


async def test_the_application_is_not_the_superuser(servers: Pair) -> None:
    assert (
        await value(servers.database_url, "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = user") is False
    )


async def test_letters_beyond_ascii_have_lower_case(servers: Pair) -> None:
    assert await value(servers.database_url, "SELECT lower('ÉCOLE')") == "école"


async def test_a_wrong_password_is_refused_by_both(servers: Pair) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await value(servers.database_url.replace("dueflow:", "dueflow:x"), "SELECT 1")
    with (
        redis.Redis.from_url(servers.redis_url.replace(":@", ":x@").replace("redis://:", "redis://:x")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_throw_away_servers_leave_neither_process_nor_file() -> None:
    with throwaway() as pair:
        ports = [int(url.rsplit(":", 1)[1].split("/")[0]) for url in (pair.database_url, pair.redis_url)]
        assert [is_free(port) for port in ports] == [False, False]
    assert [is_free(port) for port in ports] == [True, True]


def test_committed_rows_and_the_append_only_file_survive_kill_9(folder: Path) -> None:
    postgres_port, valkey_port = held_ports(2)
    postgres = Postgres(folder / "postgresql", postgres_port, "secret", "more-secret")
    valkey = Valkey(folder / "valkey", valkey_port, "secret")

    first = [started(child, folder) for child in (postgres.child(), valkey.child())]
    asyncio.run(value(postgres.url, "CREATE TABLE kept AS SELECT 41 + 1 AS answer"))
    with redis.Redis.from_url(valkey.url) as client:
        client.set("kept", "yes")
    for server in first:
        server.process.kill()
        server.stop()
    second = [started(child, folder) for child in (postgres.child(), valkey.child())]
    assert asyncio.run(value(postgres.url, "SELECT answer FROM kept")) == 42
    with redis.Redis.from_url(valkey.url) as client:
        assert client.get("kept") == b"yes"
    for server in second:
        server.stop()
    assert stat.S_IMODE((folder / "postgresql" / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "valkey" / "valkey.conf").stat().st_mode) == 0o600


def started(child: Child, folder: Path) -> Running:
    """A ready server; one that ends at once, because its killed predecessor's children still live, is started again."""
    server = Running(child, folder / f"{child.name}.log")

    def is_ready() -> bool:
        nonlocal server
        if server.code is not None:
            server = Running(child, folder / f"{child.name}.log")
        return server.ready()

    until(is_ready, child.name, child.patience)
    return server


def test_no_secret_is_on_a_command_line(folder: Path) -> None:
    postgres = Postgres(folder / "postgresql", 1, "secret-one", "secret-two", keep=False)
    valkey = Valkey(folder / "valkey", 1, "secret-three")
    assert "secret" not in " ".join((*postgres.child().argv, *valkey.child().argv))


@pytest.mark.skipif(not any(DEBIANS.glob("*/bin/postgres")), reason="no PostgreSQL of the system's own here")
def test_without_the_wheel_the_systems_postgresql_serves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUEFLOW_BUNDLED", "no")
    postgres = Postgres(folder / "postgresql", held_ports(1)[0], "secret", "more-secret", keep=False)
    server = Running(postgres.child(), folder / "postgresql.log")
    try:
        wait_until_ready(server)
        assert asyncio.run(value(postgres.url, "SELECT current_setting('server_version_num')::int >= 150000")) is True
        assert asyncio.run(value(postgres.url, "SHOW statement_timeout")) == "15s"
    finally:
        server.stop()


def test_without_any_server_the_message_is_the_command_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUEFLOW_BUNDLED", "no")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(programs.ServerMissingError) as missing:
        programs.valkey_program()
    assert str(missing.value) == (
        "No valkey server runs here. Type `apt-get install redis-server`, or set REDIS_URL to one you have."
    )


def test_data_of_another_version_are_refused_not_touched(folder: Path) -> None:
    postgres = Postgres(folder / "postgresql", 1, "secret", "more-secret", keep=False)
    postgres.child()
    (folder / "postgresql" / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(programs.ServerMissingError, match="were made by PostgreSQL 14, but the server here is"):
        postgres.child()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_the_servers_die_with_a_killed_test_process(folder: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from local.servers import throwaway\n"
        "with throwaway(pathlib.Path(sys.argv[1])) as pair:\n"
        "    print(pair.database_url, pair.redis_url, flush=True)\n"
        "    time.sleep(60)\n"
    )
    folder.chmod(0o711)
    command = [sys.executable, "-c", program, str(folder)]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    ports = [int(url.rsplit(":", 1)[1].split("/")[0]) for url in parent.stdout.readline().split()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until(lambda: all(is_free(port) for port in ports), "the servers' end")
