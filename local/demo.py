"""`make demo`: the three main flows against the running system, each step told with its figures and live events."""

import asyncio
import json
import os
import sys
from pathlib import Path

from rich.console import Console

from local.caller import Caller
from local.journeys import allocation, booking, debit
from local.journeys.stage import Stage
from local.state import ROOT


async def show(stage: Stage, console: Console) -> None:
    """All three flows."""
    console.rule("a  A course under way, by package + charge")
    await booking.book_with_credits(stage, 10)
    console.rule("a' The same with three credits")
    await booking.book_with_credits(stage, 3)
    console.rule("b  A failed debit shuts the door")
    await debit.fail_and_make_good(stage, await debit.sign_up(stage))
    console.rule("c  A subscription over the classes it paid for")
    subscribed = await allocation.subscribe(stage)
    await allocation.change_classes(stage, subscribed)
    await allocation.end_periods(stage, subscribed)


async def main() -> int:
    """Find the running system and show the flows -> exit status."""
    folder = Path(os.environ.get("DUEFLOW_LOCAL") or ROOT / ".local")
    run_file, keys_file = folder / "run.json", folder / "keys.json"
    if not run_file.exists():  # nothing else runs yet
        print("Nothing runs here: type `make run` in another terminal first.", file=sys.stderr)
        return 1
    run, keys = json.loads(run_file.read_text()), json.loads(keys_file.read_text())  # as above
    console = Console(highlight=False)
    caller = Caller(run["graphql"], run["ws"], run["keys"]["admin"])
    try:
        await show(Stage(caller, run["sandbox"], keys["coursepro"], console.print), console)
    finally:
        await caller.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
