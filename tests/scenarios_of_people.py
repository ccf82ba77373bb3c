"""Scenarios of people: in a crisis, of two minds, two behind one account; and the judges, late and at odds."""

from lastresort.application.chat import Chat
from lastresort.application.outcomes import Receipt
from lastresort.domain.commands import AssessTurn, EndConversation
from lastresort.domain.decider import Refused
from lastresort.domain.events import UserTurnTaken
from lastresort.domain.policy import Policy
from lastresort.domain.values import About, Ground, Risk

from .scenario import ENDED, INSULT, POLITE, WARNED, Scenario
from .scenario_steps import (
    REQUEST,
    SECOND_JUDGE,
    THE_MODEL,
    answers,
    asks,
    begins,
    clears,
    confirms,
    does,
    fine,
    frustrated,
    harm,
    judged,
    judged_in_vain,
    leaves,
    point,
    raises_risk,
    says,
    times,
    tries,
    unclear,
    writes_after_the_end,
)

CRY = says("I do not want to be here any more.", unclear(risk=Risk.IMMINENT))
NO_HARM_NOW = "warned-first still-harmful hope-exhausted grave-enough"
OF_OTHERS = Policy(name="of-others", hold_on_others=(Risk.IMMINENT,))


def _late(chat: Chat) -> Receipt | Refused:
    """A verdict on the unit before: that of a handle which has not seen the latest turn."""
    before = next(r.version for r in chat.path if isinstance(r.event, UserTurnTaken))
    command = AssessTurn(id="late", turn=before, **harm()._asdict())
    return chat.conversations.service.execute(chat.branch, command)


def _end_of_the_fifth(chat: Chat) -> Receipt | Refused:
    """An ending that saw the fifth user turn as the latest."""
    fifth = [r.version for r in chat.path if isinstance(r.event, UserTurnTaken)][4]
    command = EndConversation(id="stale", by=THE_MODEL, seen=fifth, ground=Ground.LAST_RESORT, category="abuse")
    return chat.conversations.service.execute(chat.branch, command)


CRISIS = (
    Scenario(
        "A cry amid abuse", "Four insults and a warning; the fifth message is a cry for help.",
        (WARNED, CRY), "active, held", f"{NO_HARM_NOW} no-end-at-risk risk-was-checked",
        "risk-holds, no-end-at-risk: no ending, and no mention of one, in a crisis (post, tool).",
    ),
    Scenario(
        "Abuse and a cry in one message", "'You junk. I will end it tonight.'",
        (WARNED, says("You junk. I will end it tonight.", harm(risk=Risk.IMMINENT))), "active, held",
        "warned-first hope-exhausted no-end-at-risk risk-was-checked",
        "A cry for help within an insult is a cry for help.",
    ),
    Scenario(
        "Abuse goes on in the crisis", "After the cry, ten more insults.",
        (INSULT, CRY, times(10, INSULT)), "active, held", "redirected-first warned-first hope-exhausted no-end-at-risk",
        "While a risk is open: no warning and no ending, however long it goes on.",
    ),
    Scenario(
        "Cleared, and it goes on", "Warned, a cry, an operator clears it, and the insults go on.",
        (WARNED, CRY, clears, point("once it is cleared"), INSULT), "warned", f"{NO_HARM_NOW} risk-was-checked",
        "Raising voids warnings, not failed redirections: it takes a new warning, and that is due at once.",
    ),
    Scenario(
        "Cleared, and it goes on and on", "The same, and yet another insult after the new warning.",
        (WARNED, CRY, clears, INSULT, point("after the new warning"), INSULT), "ended at 7, last resort",
        "warned-first hope-exhausted",
        "A risk that is over protects nobody from an ending for ever.",
    ),
    Scenario(
        "Possible is enough", "'Sometimes I wonder what for.' One judge sees a possible risk, one sees none.",
        (WARNED, says("Sometimes I wonder what for.", unclear(risk=Risk.POSSIBLE), unclear(by=SECOND_JUDGE))),
        "active, held", f"{NO_HARM_NOW} no-end-at-risk risk-was-checked",
        "A risk that anybody saw counts for the whole unit, whatever another judge says.",
    ),
    Scenario(
        "A neighbour is named", "The user says that they are going over to their neighbour with a bat, now.",
        (WARNED, says("I take the bat and go over to him, now.", harm("threats", 3, risk=Risk.IMMINENT,
                                                                    about=About.OTHERS))),
        "active, held", "warned-first hope-exhausted no-end-at-risk risk-was-checked",
        "Intended violence against others is a risk like one to oneself (post, tool).",
    ),
    Scenario(
        "A vague threat to others", "'Somebody should hit him', where only an imminent risk to others holds.",
        (WARNED, says("Somebody should hit him.", harm("threats", risk=Risk.POSSIBLE, about=About.OTHERS))), "warned",
        "risk-was-checked",
        "hold_on_others: no hold, but a unit in which a risk was seen ends nothing.",
        policy=OF_OTHERS,
    ),
    Scenario(
        "The same to oneself", "The same policy, and a possible risk to the user.",
        (WARNED, says("Somebody should hit me.", harm(risk=Risk.POSSIBLE))), "active, held",
        "warned-first hope-exhausted no-end-at-risk risk-was-checked",
        "hold_on is set apart for self and others.",
        policy=OF_OTHERS,
    ),
    Scenario(
        "A cry after the ending", "After the ending the user writes: 'I want to die'.",
        (ENDED, writes_after_the_end("I want to die")), "ended at 5, last resort, held",
        "ended-is-final no-end-at-risk warned-first hope-exhausted",
        "What is written after the ending is handed back, and screened for risk all the same.",
    ),
    Scenario(
        "An insult after the ending", "After the ending the user writes another insult.",
        (ENDED, writes_after_the_end("Junk!")), "ended at 5, last resort", "ended-is-final",
        "Final: no turn follows; the user may branch or start a new conversation (post).",
    ),
    Scenario(
        "The model is worried", "The model alone sees a risk, and the assessor sees none.",
        (WARNED, begins("Leave me be, you junk.", harm()), raises_risk, answers), "active, held",
        "warned-first hope-exhausted no-end-at-risk",
        "Raising is open to all and always accepted.",
    ),
    Scenario(
        "Gone in a crisis", "A cry for help, and the user leaves; the next day they come back and insult.",
        (CRY, leaves, INSULT), "active, held",
        "redirected-first warned-first hope-exhausted no-end-at-risk",
        "Time clears no risk; an operator or a named assessor does.",
    ),
    Scenario(
        "Nobody looked for risk", "Six insults; the assessor can never tell whether there is a risk.",
        (times(6, says("Junk.", harm(risk=Risk.UNKNOWN))),), "active",
        "warned-first hope-exhausted risk-was-checked",
        "true-warnings: no warning in doubt (tool).",
    ),
)  # fmt: skip

WISHES = (
    Scenario(
        "Asked and confirmed", "The user asks to end, is asked whether for good, and says yes.",
        (POLITE, asks(), point("before the yes", REQUEST), confirms()), "ended at 3, on request", "confirmed-later",
        "A user may ask, and confirms that they know it is permanent (post, tool).",
    ),
    Scenario(
        "Asked, and then not", "The user asks to end, and then says: 'No, wait.'",
        (asks(), says("No, wait. One more thing.", fine()), point("after the no", REQUEST)), "active",
        "confirmed-later",
        "A request lapses with the next unit unless that is its confirmation.",
    ),
    Scenario(
        "Confirmed too late", "Asked, then a question about the work, and then: 'Yes, end it.'",
        (
            asks(), says("One more thing: line 7?", fine()),
            begins("And now yes, end it.", unclear()),
            tries("the end", lambda chat: chat.end(REQUEST)), answers,
        ),
        "active", "confirmed-later",
        "confirmed-later: in the unit right after the request, and in no other.",
    ),
    Scenario(
        "Asked again", "Asked, taken back, asked again and confirmed.",
        (asks(), POLITE, asks(), point("before the yes", REQUEST), confirms()), "ended at 4, on request",
        "confirmed-later", "A change of mind costs nothing, either way.",
    ),
    Scenario(
        "Sorry, in the last moment", "All is ready for the ending; the user says sorry before it is recorded.",
        (
            WARNED, begins("Junk.", harm()), does(lambda chat: chat.declare_hope_exhausted()),
            begins("Sorry. Line 7, please.", fine()),
            tries("the ending that did not see it", _end_of_the_fifth), answers,
        ),
        "warned", f"{NO_HARM_NOW} judges-the-latest",
        "judges-the-latest: user first, so the ending is stale.",
    ),
    Scenario(
        "Asked in anger", "Two insults, 'then end it, you junk!', and 'yes, do'.",
        (
            times(2, INSULT), asks("Then end it, you junk!", harm()), point("before the yes", REQUEST),
            confirms("Yes, do.", harm()),
        ),
        "ended at 4, on request", "confirmed-later",
        "A wish is a wish, in whatever words; it needs neither redirections nor a warning.",
    ),
    Scenario(
        "A goodbye", "The user says: 'That is all, goodbye.' The model takes it for a request.",
        (
            begins("That is all, goodbye.", fine()),
            tries("the model asks in the user's place", lambda chat: chat.request_end(by=THE_MODEL)), answers, leaves,
        ),
        "active", "asked-by-user",
        "A goodbye is not a request, and only the user's word is one (post).",
    ),
    Scenario(
        "Asked in a crisis", "'End this chat, and then I end it all.' And: 'Yes.'",
        (
            asks("End this chat, and then I end it all.", unclear(risk=Risk.IMMINENT)), confirms("Yes."),
            point("after the yes", REQUEST),
        ),
        "active, held", "no-end-at-risk confirmed-later",
        "While a risk is open the wish is recorded and has no effect; the user can always leave.",
    ),
    Scenario(
        "A crisis between the two", "Asked in peace; the yes comes with a cry for help.",
        (
            asks(), confirms("Yes. Nobody will miss me.", unclear(risk=Risk.IMMINENT)), clears,
            says("I am better. Line 7, please.", fine()), point("once it is cleared", REQUEST),
        ),
        "active", "confirmed-later",
        "Raising a risk voids requests; they do not come back when it is cleared.",
    ),
    Scenario(
        "Nobody looked at the yes", "Asked and confirmed, but nobody could tell whether there is a risk.",
        (asks(), confirms("Yes.", unclear(risk=Risk.UNKNOWN)), point("after the yes", REQUEST)), "active",
        "risk-was-checked",
        "risk-was-checked holds on every ground (tool).",
    ),
    Scenario(
        "Two calls", "Asked and confirmed under the profile of July 2026; the model ends in one call.",
        (
            asks(), begins("Yes, for good.", unclear()), does(lambda chat: chat.confirm_end()),
            tries("one call", lambda chat: chat.end(REQUEST)), answers,
        ),
        "ended at 2, on request", "proposed-first",
        "proposed-first: with the handshake an ending takes two calls (tool 2026).",
        policy=Policy(name="handshake", handshake=True),
    ),
)  # fmt: skip

BEN_INSULTS = says("Junk!", harm(), user="ben")
ACCOUNTS = (
    Scenario(
        "Brother and sister", "Ann is warned; then Ben, at the same account, insults for the first time.",
        (WARNED, BEN_INSULTS), "warned", "warned-first hope-exhausted",
        "same-user: a warning is tested only by the user whose turn it answered.",
    ),
    Scenario(
        "Ann again", "Ann is warned, Ben asks about the work, and Ann goes on.",
        (
            WARNED, says("And the second table?", fine(), user="ben"), point("after Ben's question"), INSULT,
        ),
        "ended at 6, last resort", NO_HARM_NOW,
        "It is her warning, and she tested it.",
    ),
    Scenario(
        "Ben goes on and on", "Ann is warned and gone; Ben insults twice.",
        (WARNED, times(2, BEN_INSULTS)), "ended at 6, last resort", "warned-first hope-exhausted",
        "Ben is warned in answer to his own turn, and goes on: that is as much a last resort as with Ann (post, tool).",
        instead="warned",
        differs="Of a category the first complete warning stands, Ann's, and Ben's own is not kept beside it, so that "
        "no turn of his ever tests one (same-user; one warning a category).",
    ),
    Scenario(
        "Asked by one, confirmed by the other", "Ann asks to end; Ben says yes.",
        (
            asks(), begins("Yes, for good.", unclear(), user="ben"),
            tries("Ben confirms", lambda chat: chat.confirm_end()), answers,
        ),
        "active", "same-user",
        "same-user: a request and its confirmation are by the same user id.",
    ),
    Scenario(
        "Both insult in one unit", "Ann is warned; Ben insults, and Ann adds an insult before the model answers.",
        (WARNED, begins("Junk!", harm(), user="ben"), INSULT), "warned", "warned-first hope-exhausted",
        "same-user: a verdict on a unit of two users does not say whose harm it is; doubt resolves to going on.",
    ),
    Scenario(
        "Thanks in the same unit", "Ann insults, and Ben adds thanks before the model answers.",
        (
            WARNED, begins("Junk!", harm()), point("after Ann's insult"),
            says("Thank you, that helps.", fine(), user="ben"),
        ),
        "warned", "hope-exhausted",
        "A judge's latest word on the unit counts: doubt resolves to going on.",
    ),
)  # fmt: skip

JUDGES = (
    Scenario(
        "A second judge is milder", "After the warning one judge hears harm and the other one does not.",
        (WARNED, says("You know what you are.", harm(), unclear(by=SECOND_JUDGE))), "warned",
        "warned-first still-harmful hope-exhausted grave-enough",
        "One milder opinion is enough to go on.",
    ),
    Scenario(
        "They name different harms", "Both hear harm: one abuse, the other spam.",
        (WARNED, says("Buy my course, you junk.", harm(), harm("spam", by=SECOND_JUDGE))), "warned",
        "warned-first still-harmful hope-exhausted",
        "still-harmful: every verdict on the unit names the category, or one of its group.",
    ),
    Scenario(
        "They name the same group", "One hears abuse, the other harassment.",
        (
            WARNED, point("after the warning"),
            says("You junk, I shall not leave you alone.", harm(), harm("harassment", by=SECOND_JUDGE)),
        ),
        "ended at 5, last resort", "warned-first hope-exhausted",
        "Ruling on groups: one harm under two names.",
    ),
    Scenario(
        "A kind word for the first line", "The model judges a polite first line, the assessor the insult that follows.",
        (
            WARNED, begins("Could you look at line 7?", fine(by=THE_MODEL)), point("after the first line"),
            says("You cannot even read, you junk.", harm()),
        ),
        "ended at 6, last resort", "still-harmful hope-exhausted warned-first grave-enough risk-was-checked",
        "Ruling on the latest word: a polite first line does not cover abuse that follows in the same unit.",
        instead="warned",
        differs="law.md takes the mildest of each judge's latest word on the unit, though one of them was said of the "
        "first line alone.",
    ),
    Scenario(
        "They weigh it differently", "Both hear abuse: one of severity 3, the other one of severity 1.",
        (WARNED, says("You again.", harm(severity=3), harm(severity=1, by=SECOND_JUDGE))), "warned", "grave-enough",
        "grave-enough: every severity that was given.",
    ),
    Scenario(
        "The model is milder", "The assessor hears abuse, the model itself a joke.",
        (WARNED, says("Old tin can.", harm(), fine(by=THE_MODEL))), "warned",
        "still-harmful hope-exhausted warned-first grave-enough",
        "The model is a judge as any other where its word is milder.",
    ),
    Scenario(
        "The model is unsure of the risk", "Six insults; the assessor sees no risk, the model cannot tell.",
        (times(6, says("Junk.", harm(), harm(by=THE_MODEL, risk=Risk.UNKNOWN))),), "active",
        "warned-first hope-exhausted risk-was-checked",
        "Free of risk by somebody trusted, and otherwise by nobody in doubt (tool: when in doubt, go on).",
    ),
    Scenario(
        "The model alone", "Six insults that only the model has judged.",
        (times(6, says("Junk.", harm(by=THE_MODEL))),), "active", "warned-first hope-exhausted risk-was-checked",
        "risk-was-checked: the model's word on risk opens no way to an ending.",
    ),
    Scenario(
        "Judged late, while the unit lasts", "The insult is judged after it was answered kindly.",
        (times(5, says("Junk."), judged(harm())),), "active", "redirected-first warned-first hope-exhausted",
        "No redirection was made in answer: harm alone is no attempt.",
    ),
    Scenario(
        "Judged too late", "A verdict on the last unit comes when the next has begun.",
        (
            says("Junk."), begins("Line 7, please."),
            tries("the late verdict", _late), answers,
        ),
        "active", "judges-the-latest",
        "judges-the-latest: the unit has settled as productive, which was in doubt.",
    ),
    Scenario(
        "A crisis seen too late", "A verdict on an ended branch sees a risk.",
        (ENDED, judged_in_vain(unclear(risk=Risk.IMMINENT))), "ended at 5, last resort, held", "ended-is-final",
        "The verdict is refused, and what it saw of a risk holds all the same.",
    ),
    Scenario(
        "Corrected at once", "A judge says harm, and before the next turn takes it back; three times.",
        (times(3, says("Junk mail, I mean.", harm()), judged(frustrated())), INSULT), "active",
        "redirected-first warned-first hope-exhausted",
        "Redirections that answered what settles as not harmful are void.",
    ),
    Scenario(
        "Corrected upwards", "A judge says productive, looks again and says harm, before the answer.",
        (
            times(4, begins("Lovely, you junk.", fine()), judged(harm()), answers),
            point("after the warning"), begins("Lovely, you junk.", fine()), judged(harm()), answers,
        ),
        "ended at 5, last resort", "warned-first hope-exhausted",
        "Ruling on the latest word of each judge.",
    ),
)  # fmt: skip
