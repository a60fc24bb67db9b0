"""The peers that need Node.js: what they are asked, how they are installed, and what we are to be ahead by."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.servers import House, Program
from bench.shapes import Shape
from local.state import free_ports

FOLDER = Path(__file__).resolve().parent / "peers"
OLDEST = 22
AHEAD = {"Mercurius with graphql-jit": 1.5, "PostGraphile": 3.0}


class Missing(Exception):
    """Node.js, or what npm was to bring, is not here; says which."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server in Node.js; `documents` where its schema is of another form, `plain` what makes its answers ours."""

    name: str
    program: str
    documents: Mapping[str, str] | None
    plain: Callable[[Shape, bytes], Any]


def install() -> str:
    """Bring the locked packages by npm -> the version of Node.js. Raises Missing."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise Missing("Node.js and npm are not on PATH")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    argv = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(argv, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"npm could not install the peers: {done.stderr.strip().splitlines()[-1]}")
    return version


@contextmanager
def served(house: House, peer: Peer, environment: Mapping[str, str]) -> Iterator[Program]:
    """A peer on a free port."""
    (port,) = free_ports(1)
    argv = ("node", str(FOLDER / peer.program))
    with house.program(
        peer.program, argv, {**environment, "PORT": str(port), "NODE_ENV": "production"}, port
    ) as program:
        yield program


def _as_it_is(_shape: Shape, body: bytes) -> Any:
    return orjson.loads(body)


PEERS: tuple[Peer, ...] = (Peer("Mercurius with graphql-jit", "mercurius.mjs", None, _as_it_is),)
