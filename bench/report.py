"""Writes `bench/RESULTS.md`: a section of each part with its machine; parts not measured now stay as they were."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.figures import Measured, Section, spread
from bench.servers import ROOT
from local.programs import postgres_programs, valkey_program

RESULTS = ROOT / "bench" / "RESULTS.md"
HEAD = """# Measured

Every figure is a ratio of two things measured in turns on one machine, or a time or size beside its target there; none
says what another machine would give. In the tables: the median of the rounds, and their range. Written by
`python -m bench`; how it is done stands in [decision 76](../docs/decisions/0076-measured-in-ratios.md).
"""


def machine() -> str:
    """What it was measured on."""
    cores = os.cpu_count()
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    gib = int(memory.split()[1]) / 1024**2
    programs = (
        ("PostgreSQL", _version(postgres_programs() / "postgres")),
        ("Valkey", _version(valkey_program())),
        ("Python", platform.python_version()),
        *((name, version(name)) for name in ("uvicorn", "uvloop", "asyncpg", "strawberry-graphql", "arq")),
    )
    told = ", ".join(f"{name} {number}" for name, number in programs)
    return (
        f"{cores} cores, {gib:.0f} GiB, {platform.system()} {platform.release()} ({platform.machine()}); {told}."
        " Everything ran on it at once: servers, databases (without fsync, as data are thrown away), and who asks."
    )


def _version(program: Path) -> str:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+)+", told)
    return found[0] if found else told.strip()


def written(section: Section) -> str:
    """A section as Markdown."""
    lines = [f"## {section.title}", "", section.words, ""]
    lines += ["| what | beside | median | range | target | |", "|---|---|---|---|---|---|"]
    lines += [_line(each) for each in section.lines]
    if section.notes:
        lines += ["", *(f"* {note}" for note in section.notes)]
    if section.profiles:
        links = ", ".join(f"[{path.stem}](profiles/{path.name})" for path in section.profiles)
        lines += ["", f"Where the time went (shares under a profiler, not seconds): {links}."]
    lines += ["", f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {machine()}"]
    return "\n".join(lines) + "\n"


def _line(each: Measured) -> str:
    middle, low, high = spread(each.values)
    target = "" if each.target is None else f"{each.target}{each.unit}"
    told = "" if each.target is None else each.target.told(middle)
    span = f"{_figure(low)}–{_figure(high)}" if len(each.values) > 1 else ""
    return f"| {each.what} | {each.beside} | {_figure(middle)}{each.unit} | {span} | {target} | {told} |"


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def keep(sections: dict[str, str]) -> None:
    """Put freshly written sections, by title, in the place of the former ones; the others stay."""
    kept: dict[str, str] = {}
    if RESULTS.exists():
        for part in RESULTS.read_text().split("\n## ")[1:]:
            kept[part.partition("\n")[0]] = f"## {part.rstrip()}\n"
    RESULTS.write_text("\n".join((HEAD, *(kept | sections).values())))
