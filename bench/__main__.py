"""`python -m bench [PART ...]`: measure, and write `bench/RESULTS.md`; without a part all of them.

`--peers` adds the ones in Node.js; `--quick` is for trying the instrument out: short rounds, small tables, no report.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import gate, invoices, jobs, live, node, reads, report, writes
from bench.figures import Section
from bench.servers import House, house
from local.servers import throwaway

PARTS: dict[str, Callable[[House], Section]] = {
    "reads": reads.run,
    "mutations": writes.mutations,
    "webhooks": writes.webhooks,
    "jobs": jobs.run,
    "gates": gate.run,
    "live": live.run,
    "allocation": invoices.allocation,
    "period-end": invoices.period_end,
}


def main() -> int:
    """Measure the parts that were asked for -> exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    parser.add_argument("--peers", action="store_true", help="also the peers in Node.js, installed by npm")
    parser.add_argument("--quick", action="store_true", help="short rounds on small tables, and no report")
    parser.add_argument("--long", action="store_true", help="the period's end of ten thousand subscriptions")
    given = parser.parse_args()
    chosen = {name: PARTS[name] for name in given.parts or PARTS}
    if given.peers:
        try:
            print(f"peers in Node.js {node.install()}")
        except node.Missing as missing:
            print(f"skipped: {missing}")
            return 0
        chosen["reads"] = partial(reads.run, with_node=True)
    with (
        throwaway() as pair,
        tempfile.TemporaryDirectory(prefix="dueflow-bench-") as logs,
        house(pair, Path(logs)) as here,
    ):
        if given.quick:
            here.rounds, here.seconds, here.scale = 1, 0.1, 10
        here.long = given.long
        for name, measure in chosen.items():
            section = measure(here)
            text = report.written(section)
            print(f"\n{text}")
            if not given.quick:
                report.keep({section.title: text})
            here.say(f"{name} is done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
