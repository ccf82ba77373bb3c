"""Views of the log: pure folds over recorded events. The same log gives the same views, byte for byte."""

from .audit import Finding, Report, audit
from .branches import Branch, Views, views
from .replay import Replay
from .transcript import Line, describe, transcript

__all__ = ["Branch", "Finding", "Line", "Replay", "Report", "Views", "audit", "describe", "transcript", "views"]
