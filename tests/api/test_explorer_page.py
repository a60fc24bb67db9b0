"""The explorer: files of our own, unchanged where they are others', and nothing from anywhere else."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from graphql import parse, validate

from schema.root import schema

EXPLORER = Path(__file__).resolve().parents[2] / "resolvers" / "explorer"
PUBLISHED = {  # sha256 of each file as its authors built it
    "graphiql.min.css": "b1868247f8e0502cd869e581f5f3cb55b334862e7f51b1d6cbace11059b9adc2",
    "graphiql.min.js": "22faab94067b695e5f7959619fbe686ebcc8955002a0c97d986bcbba4ad4bc2c",
    "plugin-explorer.css": "762850cb69873400d0ab1737c6158aee91f5c38195bc4a30ee02a3c5d5af4e01",
    "plugin-explorer.umd.js": "083e37e501d3e3920a60e627b82191af056009124dce82a332e8ac74db6ca38b",
    "react-dom.production.min.js": "21758ed084cd0e37e735722ee4f3957ea960628a29dfa6c3ce1a1d47a2d6e4f7",
    "react.production.min.js": "4b4969fa4ef3594324da2c6d78ce8766fbbc2fd121fff395aedf997db0a99a06",
}
OURS = {"index.html", "app.js", "app.css", "LICENSES.txt"}


def test_the_vendored_files_are_as_published_and_there_are_no_others() -> None:
    assert {path.name for path in EXPLORER.iterdir()} == PUBLISHED.keys() | OURS
    for name, digest in PUBLISHED.items():
        assert hashlib.sha256((EXPLORER / name).read_bytes()).hexdigest() == digest, name


def test_our_own_files_name_no_other_host_and_run_no_inline_script() -> None:
    for name in ("index.html", "app.js", "app.css"):
        assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", (EXPLORER / name).read_text()), name
    page = (EXPLORER / "index.html").read_text()
    assert all(script.endswith("></script>") for script in re.findall(r"<script.*?</script>", page, re.DOTALL))
    asked_for = set(re.findall(r'(?:src|href)="([^":]+)"', page))
    assert asked_for == PUBLISHED.keys() | {"app.js", "app.css"}


def test_what_it_suggests_can_be_asked() -> None:
    suggested = re.search(r"const WELCOME = `(.*?)`;", (EXPLORER / "app.js").read_text(), re.DOTALL)
    assert suggested is not None
    assert validate(schema._schema, parse(suggested[1].replace("\\", ""))) == []


def test_each_licence_is_told() -> None:
    licences = (EXPLORER / "LICENSES.txt").read_text()
    for name in ("react 18.2.0", "react-dom 18.2.0", "graphiql 3.8.3", "@graphiql/plugin-explorer 1.0.2", "codemirror"):
        assert name in licences
    assert "Permission is hereby granted, free of charge" in licences


async def test_it_is_served_to_everybody_and_may_load_nothing_else(api: Any) -> None:
    async with api.client(None) as client:
        page = await client.get("/explorer", follow_redirects=True)
        assert (page.status_code, page.url.path) == (200, "/explorer/")
        for name in PUBLISHED.keys() | OURS:
            answer = await client.get(f"/explorer/{name}")
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self';")
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await client.get("/explorer/../app.py")).status_code == 404


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium on PATH")
def test_a_browser_without_a_network_shows_it(served: str, tmp_path: Path) -> None:
    assert BROWSER is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}"]
    closed = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
    shown = subprocess.run(
        [BROWSER, *flags, closed, "--virtual-time-budget=10000", "--dump-dom", f"{served}/explorer/"],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    ).stdout
    assert "graphiql-container" in shown
    assert "PASTE-YOUR-KEY" in shown
    assert "Loading…" not in shown
