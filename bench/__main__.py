"""`python -m bench [PART ...]`: measure, and write `bench/RESULTS.md`; without a part all but the peers in Node.js.

`--quick` is for trying the instrument out: short rounds, small tables, no report.
"""

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from bench import gate, invoices, jobs, live, node, reads, report, writes
from bench.figures import Section
from bench.servers import House, house
from local.servers import throwaway

PARTS: dict[str, Callable[[House], Section]] = {
    "reads": reads.run,
    "peers": reads.beside_node,
    "mutations": writes.mutations,
    "webhooks": writes.webhooks,
    "jobs": jobs.run,
    "gates": gate.run,
    "live": live.run,
    "allocation": invoices.allocation,
    "period-end": invoices.period_end,
}
UNASKED = [name for name in PARTS if name != "peers"]


def main() -> int:
    """Measure the parts that were asked for -> exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    parser.add_argument("--quick", action="store_true", help="short rounds on small tables, and no report")
    parser.add_argument("--long", action="store_true", help="the period's end of ten thousand subscriptions")
    given = parser.parse_args()
    with (
        throwaway() as pair,
        tempfile.TemporaryDirectory(prefix="dueflow-bench-") as logs,
        house(pair, Path(logs)) as here,
    ):
        if given.quick:
            here.rounds, here.seconds, here.scale, here.profiles = 1, 0.1, 10, here.folder
        here.long = given.long
        return max([_part(here, name, report_too=not given.quick) for name in given.parts or UNASKED])


def _part(here: House, name: str, *, report_too: bool) -> int:
    """Measure one part and put it into the report; 1 where it could not be measured, which stops no other."""
    try:
        section = PARTS[name](here)
    except node.Missing as missing:
        print(f"{name} is skipped: {missing}")
        return 0
    except Exception:
        traceback.print_exc()
        return 1
    text = report.written(section)
    print(f"\n{text}")
    if report_too:
        report.keep({section.title: text})
    here.say(f"{name} is done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
