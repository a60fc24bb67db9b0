"""Starts a table of children in the order they need each other, keeps them alive, and stops them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from local.process import Child, Running, ending

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TICK_SECONDS = 0.03
_WATCH_SECONDS = 0.2
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.5, 30.0
_STEADY_SECONDS = 15.0


class StartError(Exception):
    """A child did not get ready when everything was first started; the message carries the tail of its log."""


def backoff_seconds(failures: int) -> float:
    """Seconds to wait before the next start: 0.5, 1, 2, 4 ... 30 for 0, 1, 2, 3 ... failures in a row."""
    return float(min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2**failures))


@dataclass(slots=True)
class _Slot:
    """A row of the table and where it stands now."""

    child: Child
    running: Running | None = None
    ready: bool = False
    failures: int = 0
    start_at: float = 0.0
    give_up_at: float | None = None


class Supervisor:
    """Runs `children`, told about in their order, one log file each in `logs`; `inherit` are descriptors they keep."""

    def __init__(
        self,
        children: Sequence[Child],
        logs: Path,
        say: Callable[[str], None] = print,
        inherit: tuple[int, ...] = (),
    ) -> None:
        self._slots = {child.name: _Slot(child) for child in children}
        self._logs = logs
        self._say = say
        self._inherit = inherit
        self._asked_to_stop = False
        self._first_start = True

    def run(self, started: Callable[[], None]) -> int:
        """Start all, call `started`, watch until SIGINT, SIGTERM or SIGHUP -> exit status 0; 1 if the start failed."""
        former = {number: signal.signal(number, self._stop_asked) for number in _SIGNALS}
        try:
            self._start_all()
            started()
            while True:
                self._turn(_WATCH_SECONDS)
        except KeyboardInterrupt:
            self._say("Stopping")
            return 0
        except StartError as failure:
            self._say(str(failure))
            return 1
        finally:
            self._stop_all()
            for number, handler in former.items():
                signal.signal(number, handler)

    def _stop_asked(self, _number: int, _frame: FrameType | None) -> None:
        self._asked_to_stop = True

    def _start_all(self) -> None:
        untold = list(self._slots.values())
        while untold:
            self._turn(_TICK_SECONDS)
            while untold and untold[0].ready:
                slot = untold.pop(0)
                age = slot.running.age if slot.running else 0.0
                self._say(f"  {slot.child.name:<16} {'done' if slot.child.ready is None else 'ready'}  {age:4.1f} s")
        self._first_start = False

    def _turn(self, seconds: float) -> None:
        for slot in self._slots.values():
            if self._asked_to_stop:
                raise KeyboardInterrupt
            self._look_at(slot)
        time.sleep(seconds)

    def _look_at(self, slot: _Slot) -> None:
        child, running = slot.child, slot.running
        is_step = child.ready is None
        if is_step and slot.ready:
            return
        if running is None:
            if time.monotonic() >= slot.start_at and self._may_start(child):
                self._start(slot)
        elif (code := running.code) is not None and not (is_step and code == 0):
            self._ended(slot, running, ending(code))
        elif not slot.ready:
            slot.ready = running.ready()
            if not slot.ready and running.age > child.patience:
                self._ended(slot, running, f"not ready after {child.patience:g} s")

    def _may_start(self, child: Child) -> bool:
        return all(self._slots[name].ready for name in child.after if name in self._slots)

    def _start(self, slot: _Slot) -> None:
        slot.give_up_at = slot.give_up_at or time.monotonic() + slot.child.patience
        slot.running = Running(slot.child, self._logs / f"{slot.child.name.replace(' ', '-')}.log", self._inherit)

    def _ended(self, slot: _Slot, running: Running, how: str) -> None:
        name, now = slot.child.name, time.monotonic()
        slot.running, slot.ready = None, False
        running.stop()  # if it hangs; and what it had started itself goes with it
        if self._first_start and slot.child.retry and slot.give_up_at and now < slot.give_up_at:
            slot.start_at = now + _FIRST_DELAY_SECONDS
            return
        if self._first_start:
            raise StartError(f"{name}: {how}. The end of {running.log}:\n{running.tail()}")
        slot.failures = 0 if running.age > _STEADY_SECONDS else slot.failures
        delay = backoff_seconds(slot.failures)
        slot.failures += 1
        slot.start_at = now + delay
        self._say(f"{name}: {how}; starting it again in {delay:g} s. The end of {running.log}:\n{running.tail()}")

    def _stop_all(self) -> None:
        last_first = list(self._slots.values())[::-1]
        for slot in sorted(last_first, key=lambda slot: -slot.child.stop_rank):
            if slot.running is not None:
                slot.running.stop()
                slot.running = None
