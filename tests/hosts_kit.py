"""What the tests of hosts share: which way of running a host is asked which checks."""

import os
from collections.abc import Iterable
from typing import Any

import pytest

from lastresort.adapters.testing import HOST_CHECKS

OF_THE_STORE = {"two_workers", "a_restart"}
"""What does not depend on how a host is run: the first way is asked."""


def every_check(*hosts: type[Any]) -> pytest.MarkDecorator:
    """Ask every host every check, but the later ones only what may differ; all, if there is time for more rounds."""
    asked: Iterable[Any] = [
        pytest.param(check, host, id=f"{host.__name__}-{check.__name__}")
        for n, host in enumerate(hosts)
        for check in HOST_CHECKS
        if n == 0 or "LASTRESORT_HOST_ROUNDS" in os.environ or check.__name__ not in OF_THE_STORE
    ]
    return pytest.mark.parametrize(("check", "host"), asked)
