"""`python -m local up` runs everything on this machine; `python -m local clean` removes what it kept.

What it keeps is in `.local`; DUEFLOW_LOCAL names another folder, for a second set-up beside the first.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from local.state import ROOT, AlreadyRunningError, Folder
from local.up import up


def clean(folder: Folder) -> int:
    """Remove all data -> exit status: 0 removed, 2 still in use."""
    try:
        folder.forget()
    except AlreadyRunningError as reason:
        print(reason)
        return 2
    return 0


COMMANDS = {"up": up, "clean": clean}


def main() -> None:
    """Run the command named on the command line on this checkout's folder."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in COMMANDS:
        sys.exit(f"usage: python -m local {'|'.join(COMMANDS)}")
    os.umask(0o077)  # nobody else may read what we and our children write
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    sys.exit(COMMANDS[name](Folder(Path(os.environ.get("DUEFLOW_LOCAL") or ROOT / ".local").absolute())))


if __name__ == "__main__":
    main()
