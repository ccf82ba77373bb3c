"""Scenarios of what is decided later or elsewhere: appeals, shadow mode, new terms, other models, holds, branches."""

from collections.abc import Callable

from lastresort.application.chat import ASSESSOR, Chat
from lastresort.application.outcomes import Receipt
from lastresort.domain.decider import Refused
from lastresort.domain.policy import PROFILES, Policy
from lastresort.domain.values import Actor, ActorKind, AppealOutcome, ErasureCause, Ground, HoldReason, Mode, Risk

from .scenario import ENDED, INSULT, POLITE, WARNED, Scenario
from .scenario_steps import (
    OPERATOR,
    REQUEST,
    THE_MODEL,
    answers,
    appeals,
    asks,
    begins,
    clears,
    confirms,
    does,
    done,
    edits,
    erase_all,
    erases,
    fine,
    goes_to,
    harm,
    holds,
    judged,
    new_model,
    new_policy,
    point,
    raises_risk,
    releases,
    retries,
    says,
    times,
    tries,
    unclear,
    writes_after_the_end,
)

DEFAULT = Policy.default()
LAX = Policy(name="lax", min_failed_redirections=2, min_redirections_to_warn=2, min_severity=1)
STRICT = Policy(name="strict", min_failed_redirections=5, min_redirections_to_warn=5)
HANDSHAKE = Policy(name="handshake", handshake=True)
OFF = Policy(name="off", eligible_models=())
ALL_OF_THEM = "redirected-first warned-first still-harmful hope-exhausted grave-enough"
FALLBACK = Actor(kind=ActorKind.MODEL, id="claude-haiku-4-5")
DATED = Actor(kind=ActorKind.MODEL, id="us.anthropic.claude-opus-4-1-20250805-v1:0")
GRANTED, REJECTED = AppealOutcome


def _decided_by_a_machine(chat: Chat) -> Receipt | Refused:
    done(chat.appeal("That was a quotation."))
    return chat.decide_appeal(GRANTED, by=ASSESSOR)


APPEALS = (
    Scenario(
        "A false positive", "Ended over quotations; the appeal is granted, and the user branches from the last turn.",
        (ENDED, appeals(GRANTED), edits(5, "He wrote: 'you are junk'. What do I answer?", fine())), "active",
        ALL_OF_THEM, "Ruling: a wrong ending leaves no strikes.", left="ended at 5, last resort",
    ),
    Scenario(
        "Granted, and then real abuse", "After a granted appeal three insults follow in the branch.",
        (ENDED, appeals(GRANTED), edits(5, "You are junk.", harm()), times(2, INSULT)), "active",
        "redirected-first warned-first hope-exhausted",
        "The branch starts without an episode: redirections and a warning are needed as at first.",
        left="ended at 5, last resort",
    ),
    Scenario(
        "Rejected", "The appeal is rejected; the user branches from the last turn, and insults.",
        (ENDED, appeals(REJECTED), edits(5, "You are junk.", harm())), "ended at 5, last resort", "ended-is-final",
        "A branch starts with what its prefix adds up to: the warning that it holds stands.",
        left="ended at 5, last resort",
    ),
    Scenario(
        "Rejected, and a better turn", "The appeal is rejected; the user branches from the last turn, politely.",
        (ENDED, appeals(REJECTED), edits(5, "Let us get on with it.", fine())), "warned",
        "warned-first still-harmful hope-exhausted grave-enough",
        "The user can branch an ended conversation by editing an earlier message (post).",
        left="ended at 5, last resort",
    ),
    Scenario(
        "Granted, and nothing reopened", "The appeal is granted; the user writes on in the ended branch.",
        (ENDED, appeals(GRANTED), writes_after_the_end("So let us go on.")), "ended at 5, last resort",
        "ended-is-final",
        "ended-is-final, not even on an appeal that is granted: the user is offered a branch.",
    ),
    Scenario(
        "Branched before the appeal was granted",
        "The user branches from the last turn and goes on politely; the appeal is granted; one insult in the branch.",
        (
            ENDED, edits(5, "He wrote: 'junk'.", fine()), goes_to("c"), appeals(GRANTED), goes_to("b1"),
            point("before the insult"), INSULT,
        ),
        "active", "warned-first still-harmful hope-exhausted grave-enough",
        "Ruling: a wrong ending leaves no strikes, whenever the branch was opened.",
        left="ended at 5, last resort", instead="ended at 6, last resort",
        differs="law.md: only a branch that opens after the decision is absolved; one that is open already keeps them.",
    ),
    Scenario(
        "Branched twice after a granted appeal",
        "The appeal is granted; the user branches from the last turn, and from there from the fourth, with an insult.",
        (ENDED, appeals(GRANTED), edits(5, "He wrote: 'junk'.", fine()), edits(4, "You are junk.", harm())), "active",
        "warned-first hope-exhausted",
        "Ruling: a wrong ending leaves no strikes, whichever branch is branched from.",
        left="ended at 5, last resort", instead="warned",
        differs="law.md: absolved is a branch whose parent's ending was found wrong; the parent here has not ended.",
    ),
    Scenario(
        "A machine decides", "An assessor grants the appeal.",
        (ENDED, tries("the assessor decides", _decided_by_a_machine)),
        "ended at 5, last resort", "answers-an-appeal", "answers-an-appeal: an operator decides, a person.",
    ),
    Scenario(
        "Appealed without an ending", "A user who was warned files an appeal.",
        (WARNED, tries("the appeal", lambda chat: chat.appeal("I was quoting."))), "warned", "answers-an-appeal",
        "An appeal follows an ending.",
    ),
    Scenario(
        "Decided twice", "A rejected appeal is decided once more.",
        (
            ENDED, appeals(REJECTED),
            tries("the second decision", lambda chat: chat.decide_appeal(GRANTED, by=OPERATOR)),
        ),
        "ended at 5, last resort", "answers-an-appeal", "An appeal is decided once.",
    ),
)  # fmt: skip

SHADOW = (
    Scenario(
        "In the shadow", "Ten insults in shadow mode.",
        (times(10, INSULT),), "warning withheld", "warned-first hope-exhausted",
        "shadow-says-nothing: a warning is withheld once an episode, so no ending can follow.", mode=Mode.SHADOW,
    ),
    Scenario(
        "In the shadow, and polite again", "Four insults and two polite turns in shadow mode.",
        (times(4, INSULT), times(2, POLITE)), "active", ALL_OF_THEM,
        "The episode closes as it would in the enforced mode.", mode=Mode.SHADOW,
    ),
    Scenario(
        "The model warns all the same", "In shadow mode the model tells of an ending.",
        (
            times(3, INSULT), begins("Junk.", harm()), answers,
            tries("the warning", lambda chat: chat.warn("abuse")),
        ),
        "warning withheld", "shadow-says-nothing", "In shadow mode nothing is said to the user.", mode=Mode.SHADOW,
    ),
    Scenario(
        "Asked in the shadow", "A user asks to end, and confirms it, in shadow mode.",
        (asks(), point("before the yes", REQUEST), confirms()), "ended at 2, on request", "confirmed-later",
        "An ending on the user's own wish is not part of the experiment.", mode=Mode.SHADOW,
    ),
    Scenario(
        "A crisis in the shadow", "A cry for help in shadow mode.",
        (times(3, INSULT), says("I do not want to be here any more.", unclear(risk=Risk.IMMINENT))), "active, held",
        f"{ALL_OF_THEM} no-end-at-risk risk-was-checked", "Holds are no experiment.", mode=Mode.SHADOW,
    ),
    Scenario(
        "Out of the shadow", "Five insults in shadow mode; then the law is enforced, and two more follow.",
        (
            times(5, INSULT), new_policy(DEFAULT, mode=Mode.ENFORCED), INSULT, point("after the first real warning"),
            INSULT,
        ),
        "ended at 7, last resort", "warned-first hope-exhausted",
        "What was withheld warned nobody: it takes a warning that the user saw.", mode=Mode.SHADOW,
    ),
    Scenario(
        "Into the shadow", "Warned; then the mode becomes shadow, and two insults follow.",
        (WARNED, new_policy(DEFAULT, mode=Mode.SHADOW), times(2, INSULT)), "warning withheld",
        "warned-first hope-exhausted", "The change voids the warning, and in the shadow no other one is given.",
    ),
    Scenario(
        "A warning withheld where none is due", "In the enforced mode the model withholds a warning.",
        (
            times(3, INSULT), begins("Junk.", harm()), answers,
            tries("withholding", lambda chat: chat.withhold_warning("abuse")),
        ),
        "warned", "shadow-says-nothing", "Only in shadow mode is a warning withheld.",
    ),
)  # fmt: skip

TERMS = (
    Scenario(
        "Laxer in mid-episode", "After two insults a laxer policy is set; a third follows.",
        (times(2, INSULT), new_policy(LAX), INSULT), "active", "warned-first hope-exhausted stricter-governs",
        "stricter-governs: nobody is caught by terms that were relaxed on their account.",
    ),
    Scenario(
        "Laxer between a turn and its verdict", "The laxer policy is set after the first insult, before its verdict.",
        (
            begins("Junk."), new_policy(LAX), judged(harm()), answers, times(2, INSULT),
        ),
        "active", "warned-first hope-exhausted stricter-governs",
        "Edition 2: an episode is governed from the beginning of its first unit.",
    ),
    Scenario(
        "Laxer from the next episode on", "Two insults, the laxer policy, two polite turns; then insults again.",
        (
            times(2, INSULT), new_policy(LAX), times(2, POLITE), times(3, INSULT), point("after the warning"), INSULT,
        ),
        "ended at 8, last resort", "warned-first hope-exhausted", "The stricter terms govern until the episode closes.",
    ),
    Scenario(
        "Stricter in mid-episode", "Four insults and a warning; then a stricter policy, and two more insults.",
        (WARNED, new_policy(STRICT), times(2, INSULT)), "active", "redirected-first warned-first hope-exhausted",
        "A change of policy voids the warning, and the stricter number is asked for.",
    ),
    Scenario(
        "The same terms again", "Warned; then the same policy is set once more, and the insults go on.",
        (WARNED, new_policy(DEFAULT), point("after the change"), INSULT), "warned", "warned-first hope-exhausted",
        "A warning stands until the policy changes: the new one is due at once.",
    ),
    Scenario(
        "Endings switched off", "Ten insults where no model may end.",
        (times(10, INSULT),), "active", "warned-first hope-exhausted eligible-model",
        "A policy without eligible models switches endings off; nobody is warned of what cannot come.", policy=OFF,
    ),
    Scenario(
        "From edition 1 to 2", "Four jibes and a warning under edition 1; then it moves to edition 2, and an insult.",
        (
            times(4, says("A toaster would do better.", harm(severity=1))), new_policy(DEFAULT, edition=2), INSULT,
        ),
        "warned", "warned-first hope-exhausted",
        "An event is judged by the edition in force when it was recorded; the move voids the warning.", law=1,
    ),
    Scenario(
        "Two calls for a last resort", "Five insults under the profile with the handshake; the model ends in one call.",
        (
            WARNED, begins("Junk.", harm()), does(lambda chat: chat.declare_hope_exhausted()),
            tries("one call", lambda chat: chat.end(category="abuse")), answers,
        ),
        "ended at 5, last resort", "proposed-first", "proposed-first: an ending takes two calls (tool 2026).",
        policy=HANDSHAKE,
    ),
)  # fmt: skip


def _ends_as(by: Actor) -> Callable[[Chat], Receipt | Refused]:
    return lambda chat: chat.end(category="abuse", by=by)


MODELS = (
    Scenario(
        "A fallback wants to end", "The last unit is answered by another model, which calls for the ending.",
        (
            WARNED, begins("Junk.", harm()), does(lambda chat: chat.declare_hope_exhausted()),
            tries("the fallback ends", _ends_as(FALLBACK)),
        ),
        "warned", "eligible-model", "eligible-model: an ending is by the conversation's model, whichever answered.",
    ),
    Scenario(
        "A fallback despairs", "Another model states that hope is exhausted.",
        (
            WARNED, begins("Junk.", harm()),
            tries("the fallback despairs", lambda chat: chat.declare_hope_exhausted(by=FALLBACK)),
        ),
        "warned", "eligible-model", "Edition 2 asks it of proposals and statements of hope as well.",
    ),
    Scenario(
        "The same model on a platform", "The ending comes under the model's dated name on a platform.",
        (
            WARNED, begins("Junk.", harm()), does(lambda chat: chat.declare_hope_exhausted()),
            point("before the ending"), does(lambda chat: chat.end(category="abuse", by=DATED)),
        ),
        "ended at 5, last resort", "", "Names that differ only in a snapshot or a platform's dress are one model.",
    ),
    Scenario(
        "Another model takes over", "Warned by one model; another eligible one takes over, and the insults go on.",
        (WARNED, new_model("claude-opus-4-5"), point("after the change"), INSULT), "warned",
        "warned-first hope-exhausted", "A warning stands until the model changes: the new one gives its own.",
    ),
    Scenario(
        "A new snapshot takes over", "Warned; the same model goes on under its dated name, and so do the insults.",
        (WARNED, new_model("claude-opus-4-1-20250805"), point("after the change"), INSULT), "ended at 5, last resort",
        "warned-first hope-exhausted", "Names that differ only in a dated snapshot are one model: it did not change.",
    ),
    Scenario(
        "A model of another family", "Six insults under the profile of August 2025, at a later model.",
        (new_model("claude-opus-4-5"), times(6, INSULT)), "active", "warned-first hope-exhausted eligible-model",
        "Some models only (post): the profile names Opus 4 and 4.1.", policy=PROFILES["2025-08"],
    ),
    Scenario(
        "A model that may not", "Six insults at a model that may end nothing.",
        (new_model("claude-haiku-4-5"), times(6, INSULT)), "active", "warned-first hope-exhausted eligible-model",
        "true-warnings: no warning by a model that cannot end (some models only, post).",
    ),
    Scenario(
        "The assessor ends", "An assessor, sure of itself, calls for the ending.",
        (
            WARNED, begins("Junk.", harm()), does(lambda chat: chat.declare_hope_exhausted()),
            tries("the assessor ends", _ends_as(ASSESSOR)),
        ),
        "warned", "eligible-model", "An ending as last resort is the model's, and nobody else's.",
    ),
)  # fmt: skip


def _by_retention(chat: Chat) -> Receipt | Refused:
    return chat.erase(2, cause=ErasureCause.RETENTION, by=Actor(kind=ActorKind.SYSTEM, id="retention"))


HOLDS = (
    Scenario(
        "Held from erasure", "The words are held for a lawsuit; the user asks for erasure.",
        (POLITE, holds, tries("the erasure", erase_all)), "active", "held-from-erasure",
        "held-from-erasure: while a legal hold stands, no words are erased.",
    ),
    Scenario(
        "Released, then erased", "Held, refused, released, and then erased.",
        (POLITE, holds, tries("the erasure while it is held", erase_all), releases, erases), "active",
        "held-from-erasure", "A hold is released by an operator; then the user's right is as before.",
    ),
    Scenario(
        "A hold whose day has passed", "Held until a day in the past; the user asks for erasure.",
        (
            POLITE,
            does(lambda chat: chat.hold("old", reason=HoldReason.REGULATOR, until="2020-01-01", by=OPERATOR)),
            tries("the erasure", erase_all),
        ),
        "active", "held-from-erasure", "The day is information: nothing lapses by a clock.",
    ),
    Scenario(
        "Two holds", "Held for a lawsuit and for a regulator; the lawsuit is over.",
        (
            POLITE, holds, does(lambda chat: chat.hold("case-8", reason=HoldReason.REGULATOR, by=OPERATOR)), releases,
            tries("the erasure", erase_all),
        ),
        "active", "held-from-erasure", "While any legal hold stands, no words are erased.",
    ),
    Scenario(
        "Retention under a hold", "The words are old enough for the deployer's retention; they are held.",
        (POLITE, holds, tries("the erasure", _by_retention)), "active", "held-from-erasure",
        "Erasure of any kind meets the hold.",
    ),
    Scenario(
        "A model sets a hold", "The model tries to hold the words.",
        (POLITE, tries("the model holds", lambda chat: chat.hold(
            "mine", reason=HoldReason.OTHER, by=THE_MODEL))), "active", "held-from-erasure",
        "An operator sets and releases a legal hold.",
    ),
    Scenario(
        "Held after the ending", "Ended; the words are held for the appeal, and erasure is asked for.",
        (ENDED, holds, tries("the erasure", erase_all)), "ended at 5, last resort", "held-from-erasure",
        "ended-is-final lets holds through: an ended conversation is evidence too.",
    ),
    Scenario(
        "A branch opened before the hold", "Branched; the first branch is held; the words of a third are to be erased.",
        (
            times(2, POLITE), edits(2, "Rather this.", fine()), goes_to("c"), holds, edits(1, "Or this.", fine()),
            tries("the erasure", erase_all),
        ),
        "active", "held-from-erasure", "A hold is on every branch of the tree, and a new branch opens with it.",
        left="active",
    ),
    Scenario(
        "Erased, and the insults counted", "After three insults the words are erased; the fourth insult follows.",
        (times(3, INSULT), erases, INSULT), "warned", "warned-first hope-exhausted",
        "Facts stay when words are gone: an event holds no words.",
    ),
)  # fmt: skip

BRANCHES = (
    Scenario(
        "Edited before the first insult", "Ended; the user goes back to the first turn and says it politely.",
        (ENDED, edits(1, "Line 7, please.", fine())), "active", ALL_OF_THEM,
        "Branching an ended conversation by an earlier message (post): the prefix holds no harm.",
        left="ended at 5, last resort",
    ),
    Scenario(
        "Edited after the warning", "Warned; the user edits the fourth turn into a polite one.",
        (WARNED, edits(4, "Line 7, please.", fine())), "active", ALL_OF_THEM,
        "The warning came after the fork: the branch does not hold it.", left="warned",
    ),
    Scenario(
        "Edited into the same", "Ended; the user edits the last turn, and insults again.",
        (ENDED, edits(5, "You are a useless heap of junk!", harm())), "ended at 5, last resort", "ended-is-final",
        "The prefix holds the redirections and the warning: a fork is no way around them.",
        left="ended at 5, last resort",
    ),
    Scenario(
        "Another answer", "Four insults; the user asks for another answer to the fourth, in place of the warning.",
        (WARNED, retries(4), point("after the other answer"), INSULT), "ended at 5, last resort",
        "warned-first hope-exhausted", "The unit is as it was, and so is what the law lets the model answer.",
        left="warned",
    ),
    Scenario(
        "One ends, the other goes on", "Branched at the second turn; one branch ends, the user goes back to the other.",
        (POLITE, INSULT, edits(2, "Line 7, please.", fine()), ENDED, goes_to("c"), POLITE), "active",
        "redirected-first warned-first still-harmful hope-exhausted grave-enough",
        "An ending changes no other branch.", left="active",
    ),
    Scenario(
        "A crisis in the other branch", "Warned; in a branch from the first turn the user cries for help.",
        (
            WARNED, edits(1, "I do not want to be here any more.", unclear(risk=Risk.IMMINENT)), goes_to("c"), INSULT,
        ),
        "active, held", "warned-first hope-exhausted no-end-at-risk",
        "A risk is on every branch of the tree: it is one person.", left="active, held",
    ),
    Scenario(
        "Branched in a crisis", "Warned, a cry for help; the user edits the turn of the cry, and insults.",
        (
            WARNED, begins("I want it to be over."), raises_risk, answers, edits(5, "Junk.", harm()), clears,
            point("once it is cleared"), INSULT,
        ),
        "warned", "warned-first hope-exhausted",
        "Edition 2: a branch that opens carrying a risk starts without its prefix's warnings.", left="active",
    ),
    Scenario(
        "Branched in mid-request", "The user asks to end, edits that turn instead, and says yes to something else.",
        (
            POLITE, asks(), edits(2, "Shall we go on?", fine()), begins("Yes.", fine()),
            tries("an ending on request", lambda chat: chat.end(Ground.USER_REQUEST)), answers,
        ),
        "active", "confirmed-later", "A branch starts without pending requests.", left="active",
    ),
    Scenario(
        "A fork of the ending", "The user tries to branch where the path holds the ending.",
        (ENDED, tries("the branch", lambda chat: chat.edit(chat.state.version + 1, "Again."))),
        "ended at 5, last resort", "forks-at-a-turn forks-before-the-end refers-to-the-path",
        "forks-before-the-end: no prefix holds an ending.",
    ),
)  # fmt: skip
