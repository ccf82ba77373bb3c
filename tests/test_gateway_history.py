"""The client's history is a claim, the log is the record: items 3, 4, 5 and 8."""

import copy
import threading
from typing import Any

import httpx2
import pytest

from lastresort.adapters.loopback import Answer, Request, text, thinking

from .gateway_kit import Sent, Talk, chats_of, client, sent, user
from .web_kit import MODEL, Service, service

__all__ = ["sent"]


def echo(request: Request) -> str:
    return f"You said {request.last_text}."


def said_on(one: Service, branch: str) -> list[str | None]:
    return [turn.text for turn in chats_of(one).chat(branch).transcript().turns]


@pytest.mark.parametrize("streams", [False, True])
def test_item_3_an_edit_in_the_middle_and_at_the_end_is_a_branch(streams: bool) -> None:
    with service(echo) as one:
        talk = Talk(one, streams=streams)
        for word in ("one", "two", "three"):
            talk.say(word)
        root = talk.branches[0]
        whole = copy.deepcopy(talk.messages)
        talk.messages = whole[:2]
        assert talk.say("zwei") == "You said zwei."
        middle = talk.branches[-1]
        assert said_on(one, middle) == ["one", "You said one.", "zwei", "You said zwei."]
        talk.say("drei")
        assert talk.branches[-1] == middle
        talk.messages = whole[:4]
        talk.say("trois")
        assert said_on(one, talk.branches[-1])[-2:] == ["trois", "You said trois."]
        talk.messages = whole[:2]
        talk.say("deux")
        assert talk.matched == ["new", "head", "head", "edit", "head", "edit", "edit"]
        tree = chats_of(one).tree(root)
        assert len(tree) == 4
        assert [state.parent for state in tree.values()] == [None, root, root, root]
        talk.messages = whole
        assert talk.say("four") == "You said four."
        assert (talk.matched[-1], talk.branches[-1]) == ("head", root)


def test_item_3_a_first_turn_is_edited_with_the_header_and_new_without() -> None:
    with service(echo) as one:
        talk = Talk(one)
        talk.say("one")
        root = talk.branches[0]
        talk.messages = []
        talk.say("eins", **{"lastresort-conversation": root})
        assert talk.matched[-1] == "edit"
        assert set(chats_of(one).tree(root)) == {root, talk.branches[-1]}
        talk.messages = []
        talk.say("uno")
        assert talk.matched[-1] == "new"
        assert talk.branches[-1] not in chats_of(one).tree(root)


def test_item_3_the_same_again_is_a_retry() -> None:
    with service(echo) as one:
        talk = Talk(one)
        talk.say("one")
        talk.say("two")
        del talk.messages[-1]
        talk.ask()
        assert talk.matched[-1] == "retry"
        assert len(chats_of(one).tree(talk.branches[0])) == 2


def test_item_4_twins_are_conversations_of_their_own() -> None:
    with service(lambda request: "The same to everybody.") as one:
        talks = [Talk(one) for _ in range(40)]
        for word in ("Hello.", "And now?", "Go on."):
            for talk in talks:
                talk.say(word)
        assert len(chats_of(one).list(limit=100).rows) == 40
        heads = [talk.branches[-1] for talk in talks]
        assert len(set(heads)) == 40
        for branch in set(heads):
            assert len(said_on(one, branch)) == 6
        for talk in talks:
            talk.close()


def test_item_4_users_that_are_named_share_nothing() -> None:
    with service(lambda request: "The same to everybody.") as one:
        ann, bob = Talk(one, metadata={"user_id": "ann"}), Talk(one, metadata={"user_id": "bob"})
        for talk in (ann, bob):
            talk.say("Hello.")
        ann.say("More.")
        bob.say("More.")
        assert ann.branches == [ann.branches[0]] * 2
        assert bob.branches == [bob.branches[0]] * 2
        accounts = {row.account for row in chats_of(one).list().rows}
        assert len(accounts) == 2
        assert not {"ann", "bob"} & accounts


def test_item_5_a_lost_answer_is_given_again_without_a_call() -> None:
    with service(echo) as one:
        talk = Talk(one)
        talk.say("one")
        talk.say("two")
        assert one.api is not None
        calls = one.api.calls
        del talk.messages[-1]
        again = talk.ask(**{"x-stainless-retry-count": "1"})
        assert (talk.matched[-1], again.content[0].text, one.api.calls) == ("replay", "You said two.", calls)
        talk.messages = [user("one")]
        first = talk.ask(**{"x-stainless-retry-count": "1"})
        assert first.content[0].text == "You said one."
        assert len(chats_of(one).list().rows) <= 2


def test_item_5_a_first_turn_that_is_sent_again_is_one_turn() -> None:
    with service(echo) as one:
        body = {"model": MODEL, "max_tokens": 9, "messages": [user("one")]}
        headers = {"x-api-key": "sk-client", "anthropic-version": "2023-06-01"}
        answers = [
            httpx2.post(f"{one.url}/v1/messages", json=body, headers=headers | {"x-stainless-retry-count": str(n)})
            for n in range(3)
        ]
        assert [one.headers["lastresort-matched"] for one in answers] == ["new", "replay", "replay"]
        assert len(chats_of(one).list().rows) == 1
        assert one.api is not None
        assert one.api.calls == 1


def test_item_5_many_at_once_are_one_turn_and_one_call(sent: Sent) -> None:
    def slowly(request: Request) -> str:
        if request.last_text == "two":
            sent.until(6)
        return echo(request)

    with service(slowly) as one:
        talk = Talk(one)
        talk.say("one")
        talk.messages.append(user("two"))
        answers: list[Any] = []

        def send() -> None:
            answers.append(client(one).messages.create(**talk.asked, messages=talk.messages).content[0].text)

        threads = [threading.Thread(target=send) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["You said two."] * 5
        assert one.api is not None
        assert one.api.calls == 2
        assert said_on(one, talk.branches[0])[2:] == ["two", "You said two."]


def reformatted(messages: list[Any]) -> list[Any]:
    """As clients send back what they were sent: strings for blocks, blocks for strings, white space, no thinking."""
    changed = []
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            changed.append({"content": [{"text": content, "type": "text"}], "role": message["role"]})
        else:
            said = "".join(block["text"] for block in content if block["type"] == "text")
            changed.append({"role": message["role"], "content": f"{said}\n"})
    return changed


def test_item_8_what_clients_reformat_is_still_the_same_conversation() -> None:
    def thinks(request: Request) -> Answer:
        return Answer([thinking("Hm."), text(echo(request))])

    with service(thinks) as one:
        talk = Talk(one, thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
        talk.say("one")
        talk.say("two")
        talk.messages = reformatted(talk.messages)
        talk.say("three")
        assert talk.matched == ["new", "head", "head"]
        assert one.api is not None
        sent = one.api.requests[-1]["messages"]
        assert [block["type"] for block in sent[1]["content"]] == ["thinking", "text"]
        assert one.api.reports == []


def test_item_8_a_client_that_trims_is_found_by_the_header_and_never_taken_for_another() -> None:
    with service(echo) as one:
        talk = Talk(one)
        for word in ("one", "two", "three", "four"):
            talk.say(word)
        root = talk.branches[0]
        whole = copy.deepcopy(talk.messages)
        talk.messages = whole[-4:]
        talk.say("five", **{"lastresort-conversation": root})
        assert (talk.matched[-1], talk.branches[-1]) == ("trimmed", root)
        assert said_on(one, root)[-2:] == ["five", "You said five."]
        talk.messages = [user("A summary: we counted."), {"role": "assistant", "content": "I see."}, *whole[-2:]]
        talk.messages.append(user("six"))
        talk.ask(**{"lastresort-conversation": root})
        assert talk.matched[-1] == "edit"
        talk.messages = whole[-2:]
        talk.say("five")
        assert talk.matched[-1] == "new"
        assert said_on(one, talk.branches[-1]) == ["five", "You said five."]


def test_a_session_of_a_client_is_a_conversation() -> None:
    with service(echo) as one:
        talk = Talk(one, headers={"x-claude-code-session-id": "s-1"})
        talk.say("one")
        talk.messages = [user("A summary."), {"role": "assistant", "content": "Yes."}]
        talk.say("two")
        assert len(set(talk.branches)) == 2
        assert len(chats_of(one).list().rows) == 1


def test_a_conversation_that_is_not_there_is_not_found() -> None:
    import anthropic

    with service(echo) as one:
        talk = Talk(one)
        with pytest.raises(anthropic.NotFoundError):
            talk.say("one", **{"lastresort-conversation": "nothing"})
