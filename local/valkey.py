"""A Valkey server on this machine as a child of the supervisor."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from local.process import Child, Running
from local.programs import valkey_program
from local.state import write_private


@dataclass(frozen=True, slots=True)
class Valkey:
    """A Valkey with its append-only file in `folder`, on a loopback port, with a password kept off its command line."""

    folder: Path
    port: int
    password: str
    keep: bool = True

    @property
    def url(self) -> str:
        """redis://:password@127.0.0.1:port/0"""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def child(self) -> Child:
        """Write its configuration (0600) and describe the server. Raises ServerMissingError."""
        program = valkey_program()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keep = 'appendonly yes\nappendfsync everysec\nsave ""\n' if self.keep else 'appendonly no\nsave ""\n'
        write_private(
            self.folder / "valkey.conf",
            f'bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndir "{self.folder}"\n{keep}',
        )
        return Child(
            name="valkey",
            argv=(str(program), str(self.folder / "valkey.conf")),
            ready=self._answers,
            patience=20,
            retry=True,
            stop=((signal.SIGTERM, 0.5),),
            orphaned=signal.SIGTERM,
        )

    def _answers(self, _running: Running) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as line:
                line.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                with line.makefile("rb") as answers:
                    return (answers.readline(), answers.readline()) == (b"+OK\r\n", b"+PONG\r\n")
        except OSError:
            return False
