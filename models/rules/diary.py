"""What the practice system's diary tells, in our words: frozen facts as those of `facts`, and told again as often."""

from dataclasses import dataclass
from datetime import datetime

from models.rules.invoicing import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class AttendanceSeen:
    """A patient's place in a class as the practice has it now (R103-R105); `invoice_id` is any invoice's on it."""

    provider: str
    external_id: str
    patient_id: str
    session_id: str
    class_type_id: str
    class_name: str
    location_id: str
    starts_at: datetime
    ends_at: datetime
    mark: Mark
    seen_at: datetime
    invoiced: bool = False
    invoice_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterSeen:
    """A class of the practice with everybody in it: who was in it before and is not named has left (R98)."""

    provider: str
    session_id: str
    attendances: tuple[AttendanceSeen, ...]
