"""Reports of a log: what there was of harm, what was done about it, and what came of that."""

from .report import GroupReport, LogReport, report

__all__ = ["GroupReport", "LogReport", "report"]
