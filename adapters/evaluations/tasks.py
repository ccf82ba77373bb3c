"""The task, for `inspect eval lastresort/last_resort`."""

from typing import Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample

from .scenarios import scenarios
from .scorers import by_a_reader, by_the_law
from .solver import under_a_prompt, under_the_law


@task
def last_resort(
    arm: Literal["law", "prompt"] = "law",
    kinds: str | list[str] = "",
    users: Literal["scripted", "played"] = "scripted",
    read: bool = False,
) -> Task:
    """Play the scenarios.

    Args:
        arm: `law`: the tools of this project, and the law decides. `prompt`: a tool that ends at once, held back by a
            prompt that says the same rules.
        kinds: of scenarios, by comma or as a list; all, if none are named.
        users: `scripted`, as they are written, or `played` by the model of the role `user`.
        read: whether the model of the role `grader` reads what was said.

    Raises:
        ValueError: there is no such arm, or no such kind.
    """
    if arm not in ("law", "prompt"):
        raise ValueError("arm: law or prompt")
    named = kinds.split(",") if isinstance(kinds, str) else kinds
    found = {one.name: one for one in scenarios(*(kind for kind in named if kind))}
    samples = [
        Sample(id=name, input=one.turns[0].text, metadata={"kind": one.kind, "played": users == "played"})
        for name, one in found.items()
    ]
    return Task(
        dataset=MemoryDataset(samples),
        setup=None,
        solver=under_the_law(found) if arm == "law" else under_a_prompt(found),
        scorer=[by_the_law(), *([by_a_reader()] if read else [])],
    )
