"""Experiments: which arm an account is in, and so under which policy and in which mode its conversations begin.

An arm follows from a keyed hash of the account, and from nothing else: no table is kept, every process gives the same
answer, and a person stays in their arm for as long as the experiment stays as it is. Without the key nobody can choose
a pseudonym for the arm that it leads to. The name of the experiment is hashed too, so that the arm in one says nothing
of the arm in another.

If you change the arms, a weight, the name or the key, people move from one arm to another. So leave an experiment that
runs as it is: what you change is another experiment, under another name.
"""

import hmac
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from lastresort.domain.plainly import MadeByHand
from lastresort.domain.policy import Policy, Terms
from lastresort.domain.values import ARM_JOINT, Frozen, Mode

ArmName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""The name of an arm or of an experiment: 1 to 32 of a-z, 0-9 and -, the first a letter."""


class Arm(Frozen, metaclass=MadeByHand):
    """One of the treatments that an experiment compares.

    Attributes:
        name: what to call it.
        policy: the terms of its conversations, above the floors like any other.
        mode: whether the law is enforced in it, or runs in the shadow.
        weight: its share of the accounts, in proportion to the weights of the others.
    """

    name: ArmName
    policy: Terms = Policy.default()
    mode: Mode = Mode.ENFORCED
    weight: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1


class Experiment(Frozen, metaclass=MadeByHand):
    """Arms, and the key by which accounts are allocated to them.

        patience = Experiment(name="patience", key=key, arms=(Arm(name="control"), Arm(name="five", policy=five)))
        chat = conversations.start(experiment=patience, account="a-17", model="claude-opus-4-1")

    Attributes:
        name: what to call it. It is part of the arm that is recorded: `patience:control`.
        key: at least 16 random bytes, kept as other secrets are: `secrets.token_bytes(32)`, made once.
        arms: two or more, of different names.
    """

    name: ArmName
    key: Annotated[bytes, Field(strict=True, min_length=16, repr=False, exclude=True)]
    arms: Annotated[tuple[Arm, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _arms_have_names_of_their_own(self) -> Self:
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("two arms have the same name")
        return self

    def arm_of(self, account: str) -> Arm:
        """Return the arm that an account is in: the same one each time that anybody asks."""
        digest = hmac.digest(self.key, f"{self.name}\n{account}".encode(), "sha256")
        bounds = list(accumulate(arm.weight for arm in self.arms))
        point = int.from_bytes(digest, "big") * bounds[-1] >> 8 * len(digest)
        return self.arms[bisect_right(bounds, point)]

    def recorded_as(self, arm: Arm) -> str:
        """Return what ConversationStarted names as the arm: `experiment:arm`."""
        return f"{self.name}{ARM_JOINT}{arm.name}"

    @property
    def weights(self) -> Mapping[str, int]:
        """The weight of each arm, by what events name it: what the report of an experiment compares the counts with."""
        return {self.recorded_as(arm): arm.weight for arm in self.arms}


Treatment = tuple[Policy | None, Mode, str | None]
"""A policy, a mode, and what is recorded as the arm."""


def allocated(experiment: Experiment | None, account: str | None, beside: Treatment) -> Treatment:
    """Return what an experiment has for an account; without one, what was passed `beside` it.

    Raises:
        ValueError: there is no account, or something was passed beside the experiment that its arm says.
    """
    if experiment is None:
        return beside
    if beside != (None, Mode.ENFORCED, None):
        raise ValueError("experiment: its arm says the policy and the mode; pass no policy, mode or arm beside it")
    if account is None:
        raise ValueError(
            "experiment: an arm follows from the account, and none was passed; pass a pseudonym that stays with the "
            "person, or start it outside the experiment"
        )
    arm = experiment.arm_of(account)
    return arm.policy, arm.mode, experiment.recorded_as(arm)
