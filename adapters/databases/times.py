"""Times as a database keeps them: as numbers, where that loses nothing."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000  # microseconds
_FIRST_TIME = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST_TIME = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_SECONDS = tuple(f"{second:02}." for second in range(60))
_WHOLE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)


def packed(recorded_at: str) -> int | str:
    """Return a time as microseconds since 1970 in UTC, which takes a quarter of the room, if that loses nothing."""
    if type(recorded_at) is str and (known := _as_written(recorded_at)) is not None:
        return known
    try:
        microseconds = (datetime.fromisoformat(recorded_at) - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError):
        return recorded_at  # no time, or one of no zone
    return microseconds if unpacked(microseconds) == recorded_at else recorded_at


def unpacked(microseconds: int) -> str | None:
    """Return the time that was packed; None if it is none that `packed` would make."""
    if not _FIRST_TIME <= microseconds <= _LAST_TIME:
        return None
    seconds = microseconds // _SECOND
    # The digits have the fraction in them: to divide and to fill up takes half as long again.
    fraction = str(microseconds)[-6:] if microseconds >= _SECOND else f"{microseconds % _SECOND:06}"
    return f"{_minute(seconds // 60)}{_SECONDS[seconds % 60]}{fraction}+00:00"


def _as_written(recorded_at: str) -> int | None:
    """Return what `packed` makes of a time in the form that this program writes; None if it has another form.

    Many turns are recorded in a second, which is looked at once.
    """
    fraction = recorded_at[20:26]
    if recorded_at[19:20] != "." or recorded_at[26:] != "+00:00" or not (fraction.isascii() and fraction.isdecimal()):
        return None
    seconds = _since_epoch(recorded_at[:19])
    return None if seconds is None or len(fraction) != 6 else seconds * _SECOND + int(fraction)


@lru_cache(1_000)
def _since_epoch(second: str) -> int | None:
    if not _WHOLE.fullmatch(second):
        return None
    try:
        return (datetime.fromisoformat(f"{second}+00:00") - _EPOCH) // timedelta(seconds=1)
    except ValueError:
        return None


@lru_cache(1_500)
def _minute(minutes: int) -> str:
    return (_EPOCH + timedelta(minutes=minutes)).isoformat()[:17]
