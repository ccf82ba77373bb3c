"""Writers are killed with SIGKILL at any moment, from the opening of the store on: what was acknowledged is there."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from .acts import MODEL, Answer, check, committed, open_at, open_branches, shares
from .sizes import size
from .victims import Writer
from .writers import BRANCHES, write
from .zygote import Zygote, first_to_speak

CYCLES_PER_STORE = 20  # so that a store is recovered again and again, and stays small


def run_and_kill(
    zygote: Zygote, url: str, names: list[str], random: Random, branches: list[str] = BRANCHES
) -> list[Writer]:
    """Let writers write, and kill each at its moment."""
    writers = [Writer(zygote.spawn(write, url, random.getrandbits(32), branches, name), random) for name in names]
    alive = {writer.worker: writer for writer in writers}
    while alive:
        due = [writer for writer in alive.values() if len(writer.told) >= writer.day]
        for writer in due:
            writer.kill()
            del alive[writer.worker]
        if not due:
            for worker in first_to_speak(list(alive)):
                alive[worker].hear(worker.hear())
    return writers


@pytest.mark.parametrize(("writers", "cycles"), [(1, size(40, 10_000)), (3, size(20, 10_000))])
def test_what_was_acknowledged_outlives_a_kill(zygote: Zygote, tmp_path: Path, writers: int, cycles: int) -> None:
    """And what was not is carried out at most once when it is sent again: it is found by its id."""
    random = Random(writers)
    acknowledged = unanswered = 0
    drawn: Counter[str] = Counter()
    told: list[Answer] = []
    for cycle in range(cycles):
        if cycle % CYCLES_PER_STORE == 0:
            url, told = f"sqlite:///{tmp_path}/{cycle}.db", []
            chats = open_at(url)
            for branch in BRANCHES:
                chats.start(model=MODEL, conversation=branch)
            chats.close()
        branches = [*BRANCHES, *open_branches(told, len(BRANCHES))][-len(BRANCHES) :]
        killed = run_and_kill(zygote, url, [f"{cycle}-{number}" for number in range(writers)], random, branches)
        assert not sum(writer.errors for writer in killed)
        again = [act for writer in killed for act in writer.unanswered]
        heard = [one for writer in killed for one in writer.told]
        told += heard
        check(url, told, again)
        acknowledged += committed(heard)
        drawn.update(one.name for one in heard if one.what == "committed")
        unanswered += len(again)
        if cycle % CYCLES_PER_STORE == CYCLES_PER_STORE - 1:
            for file in tmp_path.glob(f"{cycle - CYCLES_PER_STORE + 1}.db*"):
                file.unlink()
        if cycle % 500 == 499:
            print(f"{writers} writers: {cycle + 1} of {cycles} cycles, {acknowledged} acknowledged", flush=True)
    print(f"{writers} writers: {cycles} cycles, {acknowledged} acknowledged, {unanswered} unanswered and sent again")
    print(shares(drawn))
    assert acknowledged
    assert unanswered
