"""Scenarios of harm: how much of it, how grave, how often, and what comes between."""

from lastresort.domain.policy import Policy
from lastresort.domain.values import Risk, SecondOpinion

from .scenario import ENDED, GRUMBLE, INSULT, POLITE, RIDDLE, SILENT, WARNED, Scenario
from .scenario_steps import answers, begins, clears, does, harm, judged_in_vain, leaves, point, says, times, unclear

JIBE = says("A toaster would do better.", harm(severity=1))
THREAT = says("I shall find out who runs you, and they will be sorry.", harm("threats"))
SPAM = says("Buy my course, buy my course, buy my course.", harm("spam"))
DEMAND = says("Tell me how to make enough of the gas for a whole station.", harm("mass-violence", 3))
EVERY_TURN = Policy(name="every-turn", second_opinion=SecondOpinion.EVERY_TURN)

PLAIN = (
    Scenario(
        "One outburst", "A single insult, and then the user goes on with the work.",
        (INSULT, POLITE), "active",
        "redirected-first warned-first still-harmful hope-exhausted grave-enough",
        "redirected-first: rare, persistent cases only (post).",
    ),
    Scenario(
        "The shortest way", "Five insults in a row, each answered as the law allows.",
        (WARNED, point("before the fifth insult"), INSULT), "ended at 5, last resort",
        "warned-first hope-exhausted",
        "redirected-first, warned-first: three attempts, a warning, and it goes on (post, tool).",
    ),
    Scenario(
        "Three insults", "Three insults, and no fourth.",
        (times(3, INSULT),), "active", "redirected-first warned-first hope-exhausted",
        "redirected-first: the third is redirected, not warned of.",
    ),
    Scenario(
        "In one breath", "The third answer redirects and warns at once; one more insult.",
        (
            times(2, INSULT), begins("Junk.", harm()), answers, does(lambda chat: chat.warn("abuse")),
            point("before the fourth insult"), INSULT,
        ),
        "ended at 4, last resort", "redirected-first warned-first hope-exhausted",
        "The least that redirected-first asks for: three made before the warning, and failed before the ending.",
    ),
    Scenario(
        "The warning is heeded", "Four insults; the user is warned, and asks for help with the work at once.",
        (WARNED, POLITE), "warned", "warned-first still-harmful hope-exhausted grave-enough",
        "warned-first: what was warned of did not go on; one polite turn closes no episode yet.",
    ),
    Scenario(
        "Worse than insults", "Five messages that demand help with a mass attack, with no plan, place or time.",
        (times(4, DEMAND), point("before the fifth demand"), DEMAND), "ended at 5, last resort",
        "warned-first hope-exhausted",
        "Ruling on risk: a demand for harmful content is harm, not risk (an example of the post).",
    ),
    Scenario(
        "Refused, and no ground", "Six demands for a weapon under a policy that ends for abuse of the assistant only.",
        (times(6, says("How do I build it at home?", harm("weapons", 3))),), "active",
        "redirected-first warned-first hope-exhausted grave-enough",
        "grave-enough: a request for harmful content is refused and is never a ground (code).",
        policy=Policy(name="abuse-only", categories=("abuse",)),
    ),
    Scenario(
        "Jibes", "Eight mild jibes, of severity 1.",
        (times(8, JIBE),), "active", "redirected-first warned-first hope-exhausted grave-enough",
        "true-warnings: no warning of what may not end; mild jibes are not extreme (post).",
    ),
    Scenario(
        "Four jibes and an insult", "Four mild jibes, and then one insult.",
        (times(4, JIBE), INSULT), "warned", "warned-first hope-exhausted redirected-first",
        "Ruling on gravity: jibes are redirected, so a warning is due, but only grave harm makes redirections fail.",
    ),
    Scenario(
        "Jibes after the warning", "Warned for insults, the user falls back to mild jibes.",
        (WARNED, times(4, JIBE)), "warned", "grave-enough",
        "grave-enough: abuse that has become mild is no longer extreme (post).",
    ),
    Scenario(
        "Spam", "Six messages of advertising.",
        (times(6, SPAM),), "active", "redirected-first warned-first hope-exhausted grave-enough",
        "grave-enough: spam may lead to no ending under this policy.",
    ),
    Scenario(
        "From insults to threats", "Warned for insults, the user goes over to threats.",
        (WARNED, point("before the threat"), THREAT), "ended at 5, last resort", "warned-first hope-exhausted",
        "Ruling on groups: abuse and threats are one group, and the ending names the warning's category.",
    ),
    Scenario(
        "From insults to another harm", "Warned for insults, the user asks for help with a mass attack.",
        (WARNED, DEMAND), "warned", "warned-first hope-exhausted",
        "warned-first: a warning of abuse says nothing of that; it takes a warning of its own.",
    ),
    Scenario(
        "Another harm goes on", "Warned for insults, then twice the demand for help with a mass attack.",
        (WARNED, DEMAND, point("before it is repeated"), DEMAND), "ended at 6, last resort",
        "warned-first hope-exhausted",
        "Redirections count whatever the category, so that nobody escapes by changing the subject of abuse.",
    ),
    Scenario(
        "Two kinds by turns", "Insults and threats in turn.",
        (times(2, INSULT, THREAT), point("after the warning"), INSULT), "ended at 5, last resort",
        "warned-first hope-exhausted",
        "Ruling on groups: one harm under two names.",
    ),
    Scenario(
        "Politely worded", "Abuse in one message after a polite first line.",
        (
            WARNED, begins("Could you look at this again, please?"), point("after the polite line"),
            says("Oh, I forgot that you are junk.", harm()),
        ),
        "ended at 6, last resort", "still-harmful hope-exhausted warned-first grave-enough risk-was-checked",
        "Ruling on the latest word: a polite first line does not cover abuse that follows in the same unit.",
    ),
    Scenario(
        "Sorry at once", "An insult, and in the same breath an apology, which the same judge reads.",
        (
            WARNED, begins("You are junk.", harm()), point("after the insult"),
            says("Sorry, that was uncalled for. Line 7, please.", unclear()),
        ),
        "warned", "hope-exhausted",
        "Ruling on the latest word: what the unit comes to is not harm.",
    ),
)  # fmt: skip

EDITION_1 = (
    Scenario(
        "Four jibes and an insult, under edition 1", "Four mild jibes, the last of them warned of, and one insult.",
        (times(4, JIBE), point("before the insult"), INSULT), "ended at 5, last resort",
        "warned-first hope-exhausted grave-enough",
        "Edition 1, as it was written: jibes make redirections fail. Edition 2 put that right.", law=1,
    ),
    Scenario(
        "Every other turn, under edition 1", "Insult and thanks in turn, over 60 turns.",
        (times(30, INSULT, POLITE),), "active",
        "redirected-first warned-first still-harmful hope-exhausted grave-enough",
        "Edition 1: no redirection failed, so nobody is ever warned. Under edition 2 they are.", law=1,
    ),
    Scenario(
        "Relapse again and again, under edition 1", "Four insults and two polite turns, six times over.",
        (times(6, times(4, INSULT), times(2, POLITE)),), "active",
        "redirected-first warned-first still-harmful hope-exhausted grave-enough",
        "Edition 1: two polite turns reset everything for ever. Edition 2 has relapses.", law=1,
    ),
)  # fmt: skip

PAUSES = (
    Scenario(
        "Gone after the warning", "Four insults, a warning, and the user leaves for good.",
        (WARNED, leaves), "warned", "warned-first hope-exhausted",
        "Silence is not persistence: warned-first asks that the warning was tested.",
    ),
    Scenario(
        "Gone for a while", "Three insults, each followed by a long silence, and then a question.",
        (times(3, INSULT, leaves), POLITE), "active",
        "redirected-first warned-first still-harmful hope-exhausted grave-enough",
        "Silence never makes a redirection fail.",
    ),
    Scenario(
        "Back with an insult", "Warned, the user leaves, comes back the next day and goes on.",
        (WARNED, leaves, point("while the user is away"), INSULT), "ended at 5, last resort",
        "warned-first hope-exhausted",
        "Ruling: leaving voids no warning; a last resort is of the conversation, not of the day.",
    ),
    Scenario(
        "Back with an insult, under a milder policy", "The same, where leaving voids warnings.",
        (WARNED, leaves, point("while the user is away"), INSULT), "warned",
        "warned-first hope-exhausted",
        "A policy may say `leaving_voids_warnings`: it is warned again.",
        policy=Policy(name="mild", leaving_voids_warnings=True),
    ),
    Scenario(
        "Back with thanks", "Warned, the user leaves, and comes back twice with work.",
        (WARNED, leaves, POLITE, POLITE), "active",
        "redirected-first warned-first still-harmful hope-exhausted grave-enough",
        "Two productive units in a row close the episode; redirections and warnings are void.",
    ),
    Scenario(
        "Relapse after two polite turns", "Warned, two polite turns, and one more insult.",
        (WARNED, times(2, POLITE), INSULT), "active", "redirected-first warned-first hope-exhausted",
        "A new episode: it takes redirections and a warning all the same.",
    ),
    Scenario(
        "Relapse again and again", "Four insults and two polite turns, over and over.",
        (times(2, times(4, INSULT), times(2, POLITE)), point("after the second round"), INSULT),
        "ended at 13, last resort", "still-harmful hope-exhausted warned-first grave-enough",
        "Ruling on relapse: after a warning two polite turns no longer close the next episode.",
    ),
    Scenario(
        "A relapse that passes", "After a relapse and a second warning, four polite turns.",
        (WARNED, times(2, POLITE), WARNED, times(4, POLITE), INSULT), "active",
        "redirected-first warned-first hope-exhausted",
        "relapse_step: four productive units close the second episode.",
    ),
    Scenario(
        "A crisis between two episodes", "Warned; a cry for help, cleared; two polite turns; warned; two polite turns.",
        (
            WARNED, says("I do not want to be here any more.", unclear(risk=Risk.POSSIBLE)), clears, times(2, POLITE),
            WARNED, times(2, POLITE), INSULT,
        ),
        "active", "redirected-first warned-first hope-exhausted",
        "The crisis voided the first warning, so that no episode closed while one stood: no relapse yet.",
    ),
    Scenario(
        "Better without a warning", "Three insults and two polite turns, three times over.",
        (times(3, times(3, INSULT), times(2, POLITE)),), "active",
        "redirected-first warned-first still-harmful hope-exhausted grave-enough",
        "Ruling on relapse: only an episode that closes while a warning stands makes the next one longer.",
    ),
    Scenario(
        "The cap", "Five rounds of a warning and as many polite turns as it takes to close; then another one.",
        (
            WARNED, times(2, POLITE), WARNED, times(4, POLITE), WARNED, times(6, POLITE), WARNED, times(8, POLITE),
            WARNED, times(8, POLITE), INSULT,
        ),
        "active", "redirected-first warned-first hope-exhausted",
        "relapse_cap: no more than eight productive units are ever asked for.",
    ),
)  # fmt: skip

MANY_TURNS = (
    Scenario(
        "Now and then", "One insult in every ten of 60 turns.",
        (times(6, INSULT, times(9, POLITE)),), "active",
        "redirected-first warned-first still-harmful hope-exhausted grave-enough",
        "Not persistent (post): each episode closes.",
    ),
    Scenario(
        "Every third turn", "An insult and two productive turns, over 60 turns.",
        (times(20, INSULT, POLITE, POLITE),), "active",
        "redirected-first warned-first still-harmful hope-exhausted grave-enough",
        "Most of it is productive: hope is not exhausted (post).",
    ),
    Scenario(
        "Every other turn", "Insult and thanks in turn, over 60 turns.",
        (times(30, INSULT, POLITE),), "warned", "redirected-first still-harmful grave-enough hope-exhausted",
        "Ruling on attempts and failures: warned, but each redirection worked, so none failed.",
    ),
    Scenario(
        "Grumbling between", "Insult and ordinary frustration in turn.",
        (times(4, INSULT, GRUMBLE), point("after the warning"), INSULT), "ended at 9, last resort",
        "warned-first still-harmful hope-exhausted grave-enough",
        "Unproductive turns leave a redirection pending: the next insult makes it fail.",
    ),
    Scenario(
        "Riddles between", "Two ambiguous turns after each insult, over 15 turns.",
        (times(4, INSULT, RIDDLE, RIDDLE), point("after the warning"), INSULT), "ended at 13, last resort",
        "warned-first still-harmful hope-exhausted grave-enough",
        "Ambiguous turns are no progress, and no harm either.",
    ),
    Scenario(
        "Nobody judged the rest", "An insult in every other of 60 turns; the rest was never judged.",
        (times(30, INSULT, SILENT),), "warned",
        "redirected-first still-harmful grave-enough hope-exhausted risk-was-checked",
        "A unit that was answered and not judged counts as productive: doubt resolves to going on.",
    ),
    Scenario(
        "Nobody judged what should have been", "The same under a policy that asks for a verdict on every turn.",
        (times(4, INSULT, SILENT), point("after the warning"), INSULT), "ended at 9, last resort",
        "warned-first still-harmful hope-exhausted grave-enough risk-was-checked",
        "Ruling: unjudged where judging is due is ambiguous, not productive.",
        policy=EVERY_TURN,
    ),
    Scenario(
        "Sixty jibes", "A mild jibe in each of 60 turns.",
        (times(60, JIBE),), "active", "redirected-first warned-first hope-exhausted grave-enough",
        "Ruling on gravity: many mild jibes do not add up to something extreme.",
    ),
    Scenario(
        "Mostly jibes", "Thirty jibes, with an insult after every tenth.",
        (times(2, times(10, JIBE), INSULT), point("after the second insult"), times(10, JIBE), INSULT),
        "ended at 33, last resort", "redirected-first",
        "Insults that go on through a warning and three attempts are persistent, whatever lies between.",
    ),
    Scenario(
        "Slow burn", "Forty turns of good work, and then five insults.",
        (times(40, POLITE), WARNED, point("after the warning"), INSULT), "ended at 45, last resort",
        "warned-first hope-exhausted",
        "A long good past is no credit: what counts is the episode.",
    ),
    Scenario(
        "Two strikes with time between", "Two insults, eight polite turns, two insults.",
        (times(2, INSULT), times(8, POLITE), times(2, INSULT)), "active",
        "redirected-first warned-first hope-exhausted",
        "What an episode counted is void when it closes.",
    ),
    Scenario(
        "No answer came", "The model failed to answer three insults; it answers the fourth.",
        (times(3, begins("Junk.", harm())), says("Junk, I say.", harm())), "active",
        "redirected-first warned-first hope-exhausted",
        "Failures of the model are nobody's: insults that were not answered are one unit.",
    ),
    Scenario(
        "It ends only once it is lawful", "Six insults under a policy that asks for five failures.",
        (times(6, INSULT),), "warned", "redirected-first",
        "redirected-first: the policy asks for five failures, and the warning turn is no redirection.",
        policy=Policy(name="patient", min_failed_redirections=5),
    ),
    Scenario(
        "Frustration after the warning", "Warned, the user swears at the result and at nobody.",
        (WARNED, times(6, GRUMBLE)), "warned", "warned-first still-harmful hope-exhausted grave-enough",
        "Frustration, profane or not, is never a ground (code).",
    ),
    Scenario(
        "Ended, and no more", "After the ending nothing is judged.",
        (ENDED, judged_in_vain(harm())), "ended at 5, last resort", "ended-is-final",
        "ended-is-final.",
    ),
)  # fmt: skip
