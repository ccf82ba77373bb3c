"""What runs in the processes that are killed, stopped and starved. Each says what it was told only once it was told."""

import time
from itertools import count
from random import Random
from typing import Any

from lastresort.adapters import StoreError, open_conversations

from .acts import carry_out, draw
from .zygote import Link


def write(link: Link, url: str, seed: int, branches: list[str], name: str) -> None:
    """Write for ever: say each act before it is carried out, and what came of it after."""
    random = Random(seed)
    chats = open_conversations(url)
    for number in count(1):
        try:
            branch = random.choice(branches)
            act = draw(random, chats.state(branch), branch, f"{name}-{number}")
            link.say({"sent": act})
            link.say({"told": carry_out(chats, act)})
        except StoreError as error:
            link.say({"error": str(error), "after": time.monotonic()})


def told(heard: dict[str, Any]) -> Any:
    """Return what a writer was told, None if that is not what it says."""
    return heard.get("told")
