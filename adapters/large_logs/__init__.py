"""Logs that are too large for one process, as Parquet: read part by part, by several. It needs the extra `large`."""

from lastresort.adapters import missing

try:
    from .auditing import audit_folder
    from .counting import report_folder
    from .supposing import FolderWhatIf, suppose_folder
    from .workers import WorkersDied
except ModuleNotFoundError as error:
    missing(error, __name__, "large")

__all__ = ["FolderWhatIf", "WorkersDied", "audit_folder", "report_folder", "suppose_folder"]
