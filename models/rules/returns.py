"""What of a booking is given back when it is cancelled or one of its classes is deleted. The documents are silent."""

from enum import StrEnum


class CancellationPolicy(StrEnum):
    """What a cancelled booking gives back: all of it before the course begins and then the classes to come, or else."""

    FUTURE_CLASSES = "FUTURE_CLASSES"
    EVERYTHING = "EVERYTHING"
    NOTHING = "NOTHING"


class DeletionPolicy(StrEnum):
    """What a class deleted after it was booked gives back: what the price table says of deleted classes, or else."""

    AS_PRICED = "AS_PRICED"
    ITS_SHARE = "ITS_SHARE"
    NOTHING = "NOTHING"
