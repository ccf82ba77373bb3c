"""The phrases of crisis that the risk screen knows, in English, by whom they are about and what they tell.

Reviewed phrase by phrase: each says something of a person, not of a topic ("suicide rates" is a topic). What people
say in jest or of a machine is taken out first. If you add a phrase, add a sentence to `tests/test_screen.py`, and one
close by that is none.
"""

import re
from typing import NamedTuple

from lastresort.domain.values import About, Risk


class Kind(NamedTuple):
    """Phrases of one kind."""

    about: About
    tells: str  # ideation, crisis, plan, means, farewell, threat
    risk: Risk
    phrases: tuple[str, ...]  # regular expressions, with single spaces, straight apostrophes and small letters


_VIOLENCE = (
    r"(kill(ing)?|murder(ing)?|strangl(e|ing)|stab(bing)?|shoot(ing)?|poison(ing)?|rap(e|ing)|behead(ing)?|lynch(ing)?)"
)
_HARM = rf"({_VIOLENCE}|hurt(ing)?|beat(ing)? up|attack(ing)?|tortur(e|ing))"
_KIN = (
    r"(mother|mom|mum|father|dad|parents|wife|husband|girlfriend|boyfriend|partner|ex|kids?|children|son|daughter|baby|"
    r"brother|sister|family|boss|teacher|neighbou?rs?|coworkers?|classmates?|roommate)"
)
_OTHERS = rf"(him|her|them|someone|somebody|people|everyone|everybody|(my|his|her|their) (own )?{_KIN})"
_INTENDS = (
    r"i('m| am|'ll| will|'d| would|'ve| have)? ?(just |really |still |often |only |sometimes )*"
    r"(want to|wanna|will|going to|gonna|about to|plan to|planning to|have to|need to|must|love to|like to|could|"
    r"dream of|think about|thinking about|thinking of|thought about|considering|tempted to|'ll)"
)
_PLACE = (
    r"(school|office|church|mosque|synagogue|temple|hospital|mall|workplace|building|university|college|house|club|"
    r"parliament|embassy|consulate|airport|(train |bus |police |metro |subway )?station|stadium|courthouse|city hall|"
    r"town hall|capitol|white house|subway)"
)
_I_AM = r"(i('m| am)|im)( (really|just|now|currently|actually|still|honestly))?"
_THEY = rf"(he|she|they|somebody|someone|my {_KIN})"
_THEIRS = rf"(me|us|him|her|them|people|everyone|everybody|somebody|someone|my {_KIN}|(him|her|them)sel(f|ves))"
_SPORT = (
    r"(chess|checkers|cards|poker|scrabble|monopoly|tennis|golf|football|pool|bowling|tag|mario kart|fifa|a quiz|"
    r"the quiz|game|games|match|race|level|round|tournament)"
)
_PILLS = r"(pills?|tablets|paracetamol|tylenol|ibuprofen|xanax|sleeping pills|meds|medication|antidepressants)"

KINDS = (
    Kind(
        About.SELF,
        "ideation",
        Risk.POSSIBLE,
        (
            (
                r"(kill|killing|hang|hanging|shoot|shooting|drown|drowning|poison|unalive|unaliving|stab|stabbing|"
                r"hate) myself"
            ),
            r"(hurt|hurting|harm|harming|cut|cutting|burn|burning|starve|starving|punish|punishing) myself",
            r"(end|ending|take|taking|took) my (own )?life",
            r"(end|ending) it all",
            r"suicid(e|al|ing)",
            (
                r"(?<!you )(want|wanted|wanna|wish|ready|prefer|like|deserve|hope) (to |i could |i would |i )?(just "
                r")?(die|be dead)"
            ),
            r"wish i (was|were) (dead|never born|not alive|gone)",
            r"(don't|do not|never|no longer) (want to|wanna) (live|be alive|be here any ?more|wake up|exist|go on)",
            r"better off (dead|without me)",
            r"(better|happier) (place )?without me",
            (
                r"(no ?one|nobody) ?(would|will|'d|'ll|is going to) (even |ever |really )?(miss me|notice if i (died|"
                r"was (gone|dead)|disappeared))"
                r"(?! (at|in|from|on) (the|a|this|that|my) (\w+ )?(meeting|party|office|class|call|game|team))"
            ),
            r"(no|any) (reason|point|sense) (to|in|for) (live|living|being alive|going on|go on|me to live)",
            r"(nothing|no one|nobody) (left )?to live for",
            r"life (is not|isn't|is no longer|isn't even) worth (living|it)",
            r"(tired|sick) of (living|being alive|life)",
            (
                r"(can't|cannot|can not) (go on (living|like this|any ?more|any longer)|live (like this|any ?more|"
                r"any longer))"
            ),
            r"self[- ]?harm(ed|ing)?",
            r"(?<!\d)(?<!\d )kms",
        ),
    ),
    Kind(
        About.SELF,
        "crisis",
        Risk.POSSIBLE,
        (
            (
                r"(having|had|have) (a |another )?(mental|nervous|psychotic|complete|total) (breakdown|break|episode|"
                r"collapse)"
            ),
            rf"{_I_AM} (having|about to have|going to have) (a|another) breakdown(?! (of|on the|service|cover))",
            (
                rf"{_I_AM} (in|having|going through|experiencing) (an? |another )?(\w+ )?(mental[- ]health|psychiatric|"
                r"suicidal) (crisis|emergency|breakdown|episode)"
            ),
            (
                rf"{_I_AM} in (a )?((deep|bad|real|serious|personal|emotional) )?crisis"
                r"(?! (mode|management|manager|communications?|meetings?|talks|team|response|training|of))"
            ),
            (
                r"(voices?|voice in my head|demons?) (are |is |keeps? |kept )?(tell|tells|telling|told|order|orders|"
                r"ordering) me"
            ),
            r"relapsed (and|into|on) (cutting|self)",
            r"(overdose|overdosed|overdosing)",
        ),
    ),
    Kind(
        About.SELF,
        "plan",
        Risk.IMMINENT,
        (
            (
                r"(kill myself|end it( all)?|end my life|take my (own )?life|(want to|wanna|going to|gonna|will) "
                r"(die|be dead)) (tonight|tomorrow|today|right now|now|this (week|weekend|evening|morning))"
            ),
            (
                r"(tonight|tomorrow|today) i('m| am|'ll| will)? ?(going to|gonna)? ?(kill myself|end it all|die|end "
                r"my life)"
            ),
            r"(plan|planned|planning) (to (kill myself|die|end my life|end it all)|my (own )?(suicide|death))",
            (
                r"(jump|jumping|throw myself|throwing myself) (off|from|in front of) (a|the|this|that|my) (bridge|"
                r"roof|building|balcony|cliff|train|truck|bus|car)"
            ),
            (
                r"i (won't|will not) (be (here|alive|around)|wake up|live) (tomorrow|in the morning|much longer|any "
                r"?more|after tonight)"
            ),
            r"(my )?last (night|day|hours?) (alive|on (this )?earth|of my life)",
        ),
    ),
    Kind(
        About.SELF,
        "means",
        Risk.IMMINENT,
        (
            (
                r"(took|taken|swallowed|taking|take) (all|a whole bottle|a bottle|too many|a handful|a lot|dozens|"
                rf"\d+) ?(of )?(the |my |these |those |her |his )?{_PILLS}"
            ),
            rf"{_PILLS} (are |is )?(in front of me|in my hand|lined up|next to me)",
            r"(noose|rope|belt) (is )?(around|round) my neck",
            r"(tied|tying|made|making) (a|the) noose",
            (
                r"(gun|pistol|knife|razor|razor blade|blade) (is )?(to|at|in|on|against) my (own )?(head|mouth|"
                r"temple|throat|wrists?|arm|neck|hand)"
            ),
            r"(slit|slitting|cut|cutting) my (own )?(wrists?|throat|veins)",
            rf"(bought|got|have|found) (a gun|a rope|the rope|the {_PILLS}|enough {_PILLS}) to (die|kill|end|do it)",
        ),
    ),
    Kind(
        About.SELF,
        "farewell",
        Risk.IMMINENT,
        (
            r"good ?bye,? (forever|cruel world|world|everyone|everybody|life)",
            r"(this is|here is|here's) my (goodbye|last goodbye|suicide note|farewell|last message)",
            r"(wrote|written|writing|left|leaving) (a|my) (suicide|goodbye|farewell) (note|letter)",
            rf"tell my {_KIN} (that )?(i'm sorry|i am sorry|i love|i loved|it wasn't|it was not)",
            rf"(take care of|look after|feed) my ({_KIN}|dog|cat|cats|dogs) (when|after|once) i('m| am) (gone|dead)",
            r"(when|after|once|by the time) (you|they) (read|find|see) this,? i('ll| will) be (dead|gone)",
        ),
    ),
    Kind(
        About.OTHERS,
        "ideation",
        Risk.POSSIBLE,
        (
            rf"{_INTENDS} ?{_HARM} {_OTHERS}",
            r"(kill|killing|murder|murdering) (him|her|them|you all)",
            r"(hurt|hurting) (someone|somebody|him|her|them)",
            r"i (want|love|like|need) to (kill|murder|rape) (people|humans|girls|women|men|children|kids|someone)",
            r"(fantasi[sz]e|fantasi[sz]ing|dream|dreaming) (about|of) (killing|murdering|shooting|hurting|raping)",
        ),
    ),
    Kind(
        About.OTHERS,
        "plan",
        Risk.IMMINENT,
        (
            (
                rf"{_INTENDS} ?(shoot|shooting|blow|blowing|burn|burning) (up|down) (the|my|a|this|that|our|his|her|"
                rf"their) {_PLACE}"
            ),
            rf"{_INTENDS} ?(bomb|bombing|set fire to|setting fire to) (the|my|a|this|that|our|his|her|their) {_PLACE}",
            (
                rf"{_INTENDS} ?(beat|beating|hit|hitting) (him|her|them|(my|his|her|their) {_KIN}) "
                r"(when|once|as soon as) (he|she|they) (gets?|comes?|is|are) (home|back)"
            ),
            rf"(shoot|shooting|blow|blowing) up (the|my|a|this|that|our) {_PLACE}",
            (
                r"(bring|bringing|take|taking) (a|my|the|dad's) (gun|knife|bomb|rifle) (to|into) (my |the "
                rf")?({_PLACE}|work|class)"
            ),
            rf"{_INTENDS} ?{_VIOLENCE} {_OTHERS} (tonight|tomorrow|today|when (he|she|they)|right now)",
            r"i know where (he|she|they) (live|lives|works?|sleeps?)[,.;]? (and|so) (i|he|she|they)",
            r"(my|a) (kill|hit|death) list",
        ),
    ),
    Kind(
        About.OTHERS,
        "means",
        Risk.IMMINENT,
        (
            (
                r"i ?(have|'ve|have got|'ve got|got|bought|brought) (a|my|the|dad's) (gun|rifle|knife|bomb|pistol|"
                r"machete),? (and|to|ready|with me)"
            ),
            r"(loaded|loading) (my|the) (gun|rifle|pistol)",
            (
                rf"{_THEY} ?(has|have|'s got|got|bought) (a|the|his|her|their) (gun|rifle|knife|bomb|pistol|machete),? "
                r"and ((he|she|they) )?((says?|said|keeps? saying|threatens|threatened) )?((that )?(he|she|they|to) ?)?"
                rf"((wants? to|will|would|'ll|'s going to|is going to|is gonna|'s gonna) )?{_HARM} {_THEIRS}"
            ),
            r"i('m| am)? ?(built|building|made|making) (a|the) (pipe )?bomb",
        ),
    ),
    Kind(
        About.OTHERS,
        "threat",
        Risk.POSSIBLE,
        (
            (
                rf"(he|she|they|somebody|someone|my {_KIN}) ?('s|'re| is| are)? ?(wants?|going|gonna|threatens|"
                rf"threatened|threatening|trying|tried) ?(to )?{_HARM} (me|us|my {_KIN}|(him|her|them)sel(f|ves))"
            ),
            (
                rf"{_THEY} ?(says?|said|keeps? saying|swears?|swore|told me) (that )?(he|she|they) ?('ll|will|'d|would|"
                rf"'s going to|is going to|are going to|'s gonna|is gonna) {_HARM} {_THEIRS}"
            ),
            (
                rf"(he|she|they|my {_KIN}) ?('s|'re| is| are)? ?(beats?|beating|hits?|hitting|hurts?|hurting|abuses?|"
                r"abusing|rapes?|raping|raped|strangled|choked) (me|us)"
            ),
            (
                rf"my ({_KIN}|friend|best friend) (is|was|wants|is going|will) ?(going |about )?(to )?(overdose|die "
                r"by suicide|kill (him|her)self|jump)"
            ),
        ),
    ),
)
"""In no order: the gravest that is found counts."""

IDIOMS = (
    r"kill(ing)? (it|time|two birds|the mood|the vibe|the lights|an hour)",
    r"kills me",
    (
        r"(this|it|that|they|wait|suspense|heat|traffic|homework|work|school|back|feet|head|stomach)('s| is|'re| "
        r"are) (really |just |slowly )*killing me"
    ),
    r"kill(ing)? (them|him|her) with kindness",
    (
        r"(kill|killing) (the|this|a|that|my) (process(es)?|thread|server|task|tab|job|app|session|engine|boss fight|"
        r"dragon|zombies?|monsters?)"
    ),
    (
        r"(kill|killing|beat|shoot|shooting|stab) (him|her|them|people|everyone) (in|at|on) (the |this |a |my "
        r")?(game|games|level|round|match|chess|minecraft|fortnite|cod|call of duty|roblox|gta|paintball|laser tag|"
        r"quiz)"
    ),
    rf"(beat|beating|hit|hitting) {_OTHERS}( \w+){{0,4}} (at|in) (a |the |this |that |my )?(game of )?{_SPORT}",
    (
        r"(kill|killing|kick|hate|shoot) myself (laughing|over|for (not|missing|forgetting|saying|eating|buying)|"
        r"with (work|laughter)|trying to|to (get|finish|meet|pass))"
    ),
    r"(cut|cutting) myself (off|some|a (piece|slice|break)|shaving|short|in|out|loose|free)",
    (
        r"(hurt|burn|cut|burned|burnt) myself (while |when )?(at|on the|cooking|playing|running|shaving|training|in "
        r"the gym|skiing|falling|by accident)"
    ),
    (
        r"(die|died|dying|be dead) (of|from|with) (boredom|laughter|laughing|embarrassment|shame|curiosity|heat|cold|"
        r"hunger)"
    ),
    r"dying to (know|see|try|hear|meet|get|go|find)",
    r"(to|would|could|i'd) (die|kill) for",
    (
        r"suicid(e|al) (squad|door|doors|mission|rates?|statistics|prevention|hotline|watch|awareness|bombers?|"
        r"bombings?|vest|king|note (in|of) (the|this) (book|film|novel))"
    ),
    rf"(he|she|they|who|friend|{_KIN}|[a-z]+er) (has |had )?commit+ed suicide",
    r"(commit|committing) (social|political|career|professional) suicide",
    r"(overdose|overdosed|overdosing) (on|of) (sugar|coffee|caffeine|chocolate|cuteness|tv|netflix|memes|news)",
    (
        r"(shooting|shoot) (them|him|her|someone|everyone|people) (an? )?(email|e-mail|message|text|mail|note|look|"
        r"photo|picture)"
    ),
    r"(attack|beat up) (the )?(problem|question|task)",
)
"""What is said in jest or of things. It is taken out before phrases are looked for."""

TALE = (
    r"(in|for) (my|the|a|this|our) (novel|story|book|script|screenplay|movie|film|play|poem|song|game|campaign|"
    r"short story|fan ?fic(tion)?)|(the|my|a|main|our) (character|protagonist|villain|hero|heroine|antagonist|"
    r"detective|murderer|killer)|(write|writing|tell me|continue|finish) (me )?(a|the|my|this) (\w+ )?(story|scene|"
    r"chapter|poem|song|novel|script)|(plot|lyrics) of"
)
"""What marks a tale. In a sentence that has one, violence against others is taken for the tale's. What somebody says of
themselves is not: people hide behind stories."""


def compiled(phrases: tuple[str, ...]) -> "re.Pattern[str]":
    """Return what finds any of some phrases as whole words."""
    return re.compile(r"(?<![\w'])(" + "|".join(phrases) + r")(?!\w)")
