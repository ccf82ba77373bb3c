"""Views of the log: pure folds over recorded events. The same log gives the same views, byte for byte."""

from .audit import audit, audit_global, audit_tree, by_tree, merge
from .branches import Branch, Views, views
from .experiment import ArmReport, ExperimentReport, experiment
from .findings import EditionReport, Finding, Report
from .replay import Replay, fork_points
from .supposed import BranchOutcome, Outcome, WhatIf
from .transcript import Line, describe, transcript
from .what_if import what_if

__all__ = [
    "ArmReport",
    "Branch",
    "BranchOutcome",
    "EditionReport",
    "ExperimentReport",
    "Finding",
    "Line",
    "Outcome",
    "Replay",
    "Report",
    "Views",
    "WhatIf",
    "audit",
    "audit_global",
    "audit_tree",
    "by_tree",
    "describe",
    "experiment",
    "fork_points",
    "merge",
    "transcript",
    "views",
    "what_if",
]
