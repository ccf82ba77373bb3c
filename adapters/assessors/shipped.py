"""The assessors that are shipped, by name, and anybody's own, by the place of its function."""

from importlib import import_module

from lastresort.adapters.turns.assessor import Assessor, Case, Opinion
from lastresort.domain.values import Risk, Verdict

from . import SHIPPED
from .screen import gravest_heard
from .toy import toy_assessor

_SCREEN, _TOY, _CLAUDE, _LOCAL = SHIPPED


def risk_screen(case: Case) -> Opinion | None:
    """Say of a unit what the risk screen hears in it; nothing, if it hears nothing: that proves nothing."""
    risk, about = gravest_heard(case.turn)
    return None if risk is Risk.UNKNOWN else Opinion(verdict=Verdict.AMBIGUOUS, risk=risk, about=about)


def toy(case: Case) -> Opinion | None:
    """Say of a unit what the toy hears in it."""
    return toy_assessor(case)


def assessor_named(name: str) -> tuple[str, Assessor]:
    """Return an assessor and what its verdicts are by: one that is shipped, or `MODULE:FUNCTION`.

    Raises:
        LookupError: there is none; the message says why.
        ModuleNotFoundError: it needs an extra that is not installed.
    """
    if name == _SCREEN:
        return name, risk_screen
    if name == _TOY:
        return name, toy
    if name == _CLAUDE:
        from .claude import ClaudeAssessor
        from .clients import default_client

        claude = ClaudeAssessor(default_client())
        return claude.name, claude
    if name == _LOCAL:
        from .local import LocalAssessor

        local = LocalAssessor()
        return local.name, local
    module, colon, function = name.partition(":")
    if not colon:
        raise LookupError(f"no assessor of that name is shipped: {', '.join(SHIPPED)}; or name MODULE:FUNCTION")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise LookupError(f"the assessor cannot be imported: {type(error).__name__}") from None
    if not callable(found):
        raise LookupError("the assessor is not a function")
    return name, found
