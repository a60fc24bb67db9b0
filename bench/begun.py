"""`python -m bench.begun KIND FILE`: our worker, which tells in the end when each job of a kind began.

It is noted as the queues beside ours note it: by the job itself, first of all.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from workers.__main__ import main as work
from workers.kinds import HANDLERS
from workers.work import Work


def main() -> None:
    """Work until SIGTERM; then write {id of a job: when it began, in seconds}."""
    kind, file = sys.argv[1], Path(sys.argv[2])
    begun: dict[str, float] = {}
    handler = HANDLERS[kind]

    async def noted(job: Work) -> None:
        begun[str(job.job.id)] = time.time()
        await handler(job)

    HANDLERS[kind] = noted
    asyncio.run(work())
    file.write_text(json.dumps(begun))


if __name__ == "__main__":
    main()
