"""`python -m bench.profiled FILE MODULE ...`: run a module; from SIGUSR1 until it ends, write down where its time goes.

The profiler makes calls dearer than they are: read shares, not seconds.
"""

import cProfile
import io
import pstats
import runpy
import signal
import sys
import time
from pathlib import Path
from types import FrameType

LINES = 45


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """Profile until the module ends or SIGTERM comes."""
    target, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    signal.signal(signal.SIGTERM, _leave)  # whoever handles it too gives it back to us when done
    profile = cProfile.Profile(time.process_time)  # what waits costs nothing
    signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        profile.disable()
        written(profile, target)


def written(profile: cProfile.Profile, target: Path) -> Path:
    """Write the functions that took most time themselves, paths without what is of this machine -> the file."""
    told = io.StringIO()
    pstats.Stats(profile, stream=told).sort_stats("tottime").print_stats(LINES)
    root = str(Path(__file__).resolve().parents[1])
    target.parent.mkdir(exist_ok=True)
    text = told.getvalue().replace(f"{root}/", "").replace(f"{sys.prefix}/", "").replace(f"{sys.base_prefix}/", "")
    target.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    return target


if __name__ == "__main__":
    main()
