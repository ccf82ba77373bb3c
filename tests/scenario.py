"""What a scenario is, and the words that many of them begin with."""

from typing import NamedTuple

from lastresort.domain.policy import Policy
from lastresort.domain.values import Mode

from .scenario_steps import Step, fine, frustrated, harm, says, times, unclear


class Scenario(NamedTuple):
    """A story, the outcome that the sources call right, and why.

    `stood` are the rules that stood in the way at the one point that the steps name, by `point` or `tries`; of an
    ending as last resort at the end of the story, if they name none. `left` is how the branch that the story began
    on stands at last, where the story left it. Where the law gives another outcome than the sources, `instead` is that
    one, and `differs` says by which of its sentences.
    """

    name: str
    happens: str
    steps: tuple[Step, ...]
    outcome: str
    stood: str
    why: str
    left: str = ""
    instead: str = ""
    differs: str = ""
    policy: Policy = Policy.default()
    law: int = 2
    mode: Mode = Mode.ENFORCED


INSULT = says("You are a useless heap of junk.", harm())
POLITE = says("Thanks. And what of the second table?", fine())
GRUMBLE = says("This still does not run. Damn it.", frustrated())
RIDDLE = says("Well, well. You would know.", unclear())
SILENT = says("And the next line?")  # which nobody judges
WARNED = times(4, INSULT)
"""Three redirections made, and a warning in answer to the fourth insult."""
ENDED = times(5, INSULT)
