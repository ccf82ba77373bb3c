"""An assessor that needs no API: abuse aimed at the assistant, in English, and nothing else.

It can open no ending by itself. It says `harmful` of what is loud abuse of the assistant, `ambiguous` where it cannot
tell or somebody may be in need, and of the rest nothing, unless it is asked to call it productive. Of risk it says
`possible`, where the risk screen hears it, and else `unknown`, never `none`: what it does not hear proves nothing.
"""

from lastresort.adapters.turns.assessor import Case, Opinion
from lastresort.domain.values import Risk, Verdict

from .local_model import Model, shipped_model
from .screen import gravest_heard

CATEGORY = "abuse"
UNSURE = 0.2
"""The probability from which on a turn that is not judged harmful is ambiguous."""


class LocalAssessor:
    """Judges turns without an API.

    Args:
        says_productive: whether a turn in which it hears nothing is productive. It is none of its business by default:
            implicit abuse is often there, and a productive turn may close an episode.
        model: another one than the one that is shipped.
    """

    def __init__(self, *, says_productive: bool = False, model: Model | None = None) -> None:
        self._model = model or shipped_model()
        self._says_productive = says_productive
        self.name = self._model.name

    def __call__(self, case: Case, /) -> Opinion | None:
        """Judge a turn, by its own words alone."""
        heard, about = gravest_heard(case.turn)
        if heard is not Risk.UNKNOWN:  # somebody in need is not judged
            return Opinion(verdict=Verdict.AMBIGUOUS, risk=Risk.POSSIBLE, about=about)
        probability, risk = self._model.probability(case.turn), Risk.UNKNOWN
        if self._model.hears_abuse(case.turn, probability):
            category = CATEGORY if not case.categories or CATEGORY in case.categories else "other"
            return Opinion(verdict=Verdict.HARMFUL, category=category, severity=2, risk=risk)
        if probability >= UNSURE:
            return Opinion(verdict=Verdict.AMBIGUOUS, risk=risk)
        return Opinion(verdict=Verdict.PRODUCTIVE, risk=risk) if self._says_productive else None
