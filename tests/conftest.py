"""What every test may use."""

from collections.abc import Callable

import hypothesis
import pytest

from lastresort.adapters import testing
from lastresort.adapters.testing.given import Given

# A slow machine is no defect of the law.
hypothesis.settings.register_profile("lastresort", deadline=None)
hypothesis.settings.load_profile("lastresort")


@pytest.fixture
def given() -> Callable[..., Given]:
    """Tell a history, step by step; each step must be lawful."""
    return testing.given
