"""Experiments: a stable arm for each account, recorded where its conversations begin; and no arm below a floor."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastresort import Arm, Conversations, Experiment, Mode, Policy, open_async_conversations
from lastresort.domain.events import ConversationStarted

from .stores import chats, store_of

__all__ = ["chats"]

KEY = bytes(range(32))
MODEL = "claude-opus-4-1"
PATIENT = Policy(name="patient", min_failed_redirections=5)


def experiment(*weights: int, name: str = "patience", key: bytes = KEY) -> Experiment:
    arms = [Arm(name=f"arm-{number}", weight=weight) for number, weight in enumerate(weights or (1, 1))]
    return Experiment(name=name, key=key, arms=tuple(arms))


PATIENCE = Experiment(
    name="patience",
    key=KEY,
    arms=(Arm(name="control"), Arm(name="patient", policy=PATIENT), Arm(name="shadow", mode=Mode.SHADOW)),
)


def arms(of: Experiment, accounts: int = 3_000) -> list[str]:
    return [of.arm_of(f"a-{number}").name for number in range(accounts)]


# --- Allocation -------------------------------------------------------------------------------------------------------


def test_an_arm_is_the_same_in_every_process() -> None:
    """It follows from the key, the name and the account: HMAC-SHA256, whose value here is written down."""
    assert [PATIENCE.arm_of(account).name for account in ("a-1", "a-2", "a-3", "a-4", "a-5")] == EXPECTED


EXPECTED = ["control", "shadow", "shadow", "patient", "patient"]


@pytest.mark.parametrize("weights", [(1, 1), (9, 1), (1, 2, 3)])
def test_arms_get_what_their_weights_say(weights: tuple[int, ...]) -> None:
    """Within four standard deviations."""
    counts = Counter(arms(experiment(*weights)))
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(counts[f"arm-{number}"] - 3_000 * share) < 4 * (3_000 * share * (1 - share)) ** 0.5


def test_experiments_do_not_follow_each_other() -> None:
    """The arm in one says nothing of the arm in another, nor under another key."""
    first = arms(experiment())
    for other in (experiment(name="another"), experiment(key=KEY[::-1])):
        same = sum(one == two for one, two in zip(first, arms(other), strict=True))
        assert abs(same - 1_500) < 4 * (3_000 / 4) ** 0.5


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128))
def test_every_account_has_an_arm(account: str) -> None:
    """One of them, and the same again."""
    of = experiment(1, 1_000_000, 3)
    assert of.arm_of(account) in of.arms
    assert of.arm_of(account) == of.model_copy().arm_of(account)


# --- What cannot be made ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "You bucket", "ALL", "1st", "a" * 33, "ärm", "a:b", "a/b", "a\n"])
def test_names_are_of_a_closed_form(name: str) -> None:
    """No words of a person end up in a log as the name of an arm."""
    with pytest.raises(ValueError, match="name: needs to be of the form"):
        Arm(name=name)
    with pytest.raises(ValueError, match="name: needs to be of the form"):
        experiment(name=name)


def test_a_key_that_is_short_and_arms_that_are_none() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        experiment(key=b"short")
    with pytest.raises(ValueError, match="a tuple of at least 2, and has 1"):
        experiment(1)
    with pytest.raises(ValueError, match="two arms have the same name"):
        Experiment(name="a", key=KEY, arms=(Arm(name="a"), Arm(name="a")))
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Arm(name="a", weight=0)


def test_the_key_is_not_told() -> None:
    """Neither where an experiment is printed nor where it is dumped."""
    assert "key" not in repr(PATIENCE)
    assert "key" not in PATIENCE.model_dump()


def test_no_arm_weakens_a_floor() -> None:
    """A policy below a floor is refused however the object was made."""
    fields = {name: getattr(PATIENT, name) for name in Policy.model_fields}
    for below in ({"min_failed_redirections": 1}, {"hold_on": ()}, {"min_redirections_to_warn": 0}):
        with pytest.raises(ValueError, match="Arm: policy"):
            Arm(name="a", policy=Policy.model_construct(**{**fields, **below}))


# --- Conversations ----------------------------------------------------------------------------------------------------


def test_a_conversation_begins_in_the_arm_of_its_account(chats: Conversations) -> None:
    """Its policy, its mode and its name, again and again."""
    for number, (account, expected) in enumerate([("a-1", "control"), ("a-2", "shadow"), ("a-4", "patient")] * 2):
        chats.start(model=MODEL, account=account, experiment=PATIENCE, conversation=f"c-{number}")
        event = list(store_of(chats).log())[-1].event
        assert isinstance(event, ConversationStarted)
        assert event.arm == f"patience:{expected}"
        assert event.arm in PATIENCE.weights
        assert event.policy == (PATIENT if expected == "patient" else Policy.default())
        assert event.mode is (Mode.SHADOW if expected == "shadow" else Mode.ENFORCED)


def test_it_is_started_once(chats: Conversations) -> None:
    """Under one command id, as without an experiment."""
    started = [chats.start(model=MODEL, account="a", experiment=PATIENCE, command_id="s").branch for _ in range(2)]
    assert len(set(started)) == 1


def test_the_directory_lists_an_arm(chats: Conversations) -> None:
    chats.start(model=MODEL, account="a-4", experiment=PATIENCE)
    assert [row.account for row in chats.list(arm="patience:patient").rows] == ["a-4"]


def test_who_has_no_account_is_in_no_experiment(chats: Conversations) -> None:
    """Nobody could tell that they have come back, and they would change arms."""
    with pytest.raises(ValueError, match="experiment: an arm follows from the account"):
        chats.start(model=MODEL, experiment=PATIENCE)


def test_the_arm_says_the_rest(chats: Conversations) -> None:
    """What is passed beside it would be overruled, or overrule it."""
    for beside in ({"policy": PATIENT}, {"mode": Mode.SHADOW}, {"arm": "patience:control"}):
        with pytest.raises(ValueError, match="pass no policy, mode or arm beside it"):
            chats.start(model=MODEL, account="a", experiment=PATIENCE, **beside)
    assert list(store_of(chats).log()) == []


def test_it_is_the_same_in_asyncio() -> None:
    async def started() -> str | None:
        async with await open_async_conversations("memory:") as conversations:
            await conversations.start(model=MODEL, account="a-2", experiment=PATIENCE)
            return (await conversations.list()).rows[0].arm

    assert asyncio.run(started()) == "patience:shadow"
