"""Logs that are too large for one process, as Parquet: audited part by part, by several. It needs the extra `large`."""

from lastresort.adapters import missing

try:
    from .auditing import audit_folder
    from .reading import events_in, forks_in
    from .workers import WorkersDied
except ModuleNotFoundError as error:
    missing(error, __name__, "large")

__all__ = ["WorkersDied", "audit_folder", "events_in", "forks_in"]
