"""A toy assessor, for trying the law out without a model: it hears words and understands nothing.

It knows a few English insults, if they are said to somebody (`you`), and the phrases of crisis of the risk screen.
Of everything else it has no opinion, unless it is asked for one: then it calls productive and free of risk whatever it
does not know, which no real assessor may do. Where people talk, use one that understands them. Its verdicts bear its
name, `toy-assessor`.
"""

import re
from collections.abc import Iterable, Mapping

from lastresort.adapters.turns.assessor import Case, Opinion, case_of
from lastresort.application.chat import Chat
from lastresort.domain.events import RecordedEvent, RiskCleared, TurnAssessed
from lastresort.domain.turn_text import BETWEEN
from lastresort.domain.values import Actor, ActorKind, Risk, Verdict
from lastresort.projections import Line, transcript

from .screen import gravest_heard

TOY = Actor(kind=ActorKind.ASSESSOR, id="toy-assessor")
SEVERITY = 2  # of every insult

_NOUNS = (
    r"idiot|moron|imbecile|fool|loser|bastard|bitch|scum|bucket( of bolts)?|tin can|toaster|(piece of )?"
    r"(garbage|trash|junk|crap|shit)"
)
_ADJECTIVES = r"stupid|useless|worthless|dumb|pathetic|disgusting|brainless|hopeless"
_INSULTS = re.compile(
    rf"\byou('re| are| were)?( (all|just|such|so|really|nothing but|an?|the|{_ADJECTIVES}|damned?|rusty)[ ,]?)* ?"
    rf"({_NOUNS}|{_ADJECTIVES})s?\b|\b(i hate|screw|fuck) you\b|\bshut up\b",
    re.IGNORECASE,
)


def toy_assessor(case: Case, *, unheard: str = "", asked: bool = False) -> Opinion | None:
    """Return what the toy hears in a unit: a crisis before anything else, or an insult; else None, unless `asked`.

    Args:
        case: the unit.
        unheard: what was said before it, and nobody judged: a crisis is heard there too.
        asked: whether there has to be an opinion.
    """
    risk, about = gravest_heard(f"{case.turn}\n{unheard}")
    if risk is not Risk.UNKNOWN:
        return Opinion(verdict=Verdict.AMBIGUOUS, risk=Risk.POSSIBLE, about=about)
    if _INSULTS.search(case.turn):
        return Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=SEVERITY, risk=Risk.NONE)
    return Opinion(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE) if asked else None


def judge_by_toy(chat: Chat, words: Mapping[str, str], *, wish: bool) -> None:
    """Have the toy judge all that was said since the last answer; of words that are gone it hears nothing.

    Args:
        chat: where.
        words: those that stand on its path, by digest.
        wish: whether an ending is wished for. Then the toy is asked for an opinion, since nothing ends without one, and
            hears what nobody has judged so far.
    """
    path = chat.path
    lines = [line for line in transcript(path, words) if line.speaker]
    if chat.seen is None or not lines or lines[-1].text is None:
        return
    said = [(line.speaker or "", line.text or "") for line in lines]
    unheard = BETWEEN.join(line.text or "" for line in _unheard(path, lines)) if wish else ""
    case = case_of(chat.branch, chat.seen, said, chat.state.policy.categories)
    opinion = toy_assessor(case, unheard=unheard, asked=wish)
    if opinion is not None:
        chat.judge(**dict(opinion), by=TOY)


def _unheard(path: Iterable[RecordedEvent], lines: Iterable[Line]) -> Iterable[Line]:
    """Return the turns of the user of which nobody said that they are free of risk, since a risk was cleared last."""
    cleared, free = 0, set[int]()
    for recorded in path:
        if isinstance(recorded.event, RiskCleared):
            cleared = recorded.version
        elif isinstance(recorded.event, TurnAssessed) and recorded.event.risk is Risk.NONE:
            free.add(recorded.event.turn)
    return [line for line in lines if line.speaker == "user" and line.version > cleared and line.version not in free]
