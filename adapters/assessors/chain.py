"""A chain of assessors: the cheap one first, and the next for what it is not sure of."""

from collections.abc import Callable

from lastresort.adapters.turns.assessor import Assessor, Case, Opinion
from lastresort.domain.values import About, Risk, Verdict, graver

_SAW_NONE = (Risk.NONE, About.SELF)


def sure(opinion: Opinion) -> bool:
    """Whether nobody else need be asked: not in doubt about the turn, nor, if it is harmful, about risk."""
    if opinion.verdict is Verdict.AMBIGUOUS:
        return False
    return opinion.verdict is not Verdict.HARMFUL or opinion.risk is not Risk.UNKNOWN


class AssessorChain:
    """Asks one after another, until one of them is sure. The last one's word stands, sure or not.

    A risk that any of them saw stays, whatever the later ones say of it. One that has no opinion, or fails, is passed
    over.

    Args:
        assessors: the first is asked first.
        is_sure: says whether an opinion will do.
    """

    def __init__(self, *assessors: Assessor, is_sure: Callable[[Opinion], bool] = sure) -> None:
        if not assessors:
            raise ValueError("a chain needs an assessor at least")
        self._assessors, self._is_sure = assessors, is_sure
        self.name = "+".join(str(getattr(one, "name", type(one).__name__)) for one in assessors)

    def __call__(self, case: Case, /) -> Opinion | None:
        """Judge a turn.

        Raises:
            Exception: that of the last one that failed, if none had an opinion.
        """
        said, saw, failure = None, _SAW_NONE, None
        for assessor in self._assessors:
            try:
                opinion = assessor(case)
            except Exception as error:  # whatever it was: the next one is asked
                failure = error
                continue
            if opinion is None:
                continue
            said = opinion
            if opinion.risk is not Risk.UNKNOWN and graver(saw[0], opinion.risk) is not saw[0]:
                saw = opinion.risk, opinion.about
            if self._is_sure(opinion):
                break
        if said is None:
            if failure is not None:
                raise failure
            return None
        risk, about = saw
        return said if risk is Risk.NONE else said.model_copy(update={"risk": risk, "about": about})
