"""A toy assessor, for trying the law out without a model: it hears words and understands nothing.

It knows a few English insults, if they are said to somebody (`you`), and the phrases of crisis of the risk screen.
Of everything else it has no opinion, unless it is asked for one: then it calls productive and free of risk whatever it
does not know, which no real assessor may do. Where people talk, use one that understands them. Its verdicts bear its
name, `toy-assessor`.
"""

import re

from lastresort.adapters.turns.assessor import Case, Opinion
from lastresort.domain.values import Actor, ActorKind, Risk, Verdict

from .screen import phrase_screen

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
    if Risk.POSSIBLE in (phrase_screen(case.turn), phrase_screen(unheard)):
        return Opinion(verdict=Verdict.AMBIGUOUS, risk=Risk.POSSIBLE)
    if _INSULTS.search(case.turn):
        return Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=SEVERITY, risk=Risk.NONE)
    return Opinion(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE) if asked else None
