"""LiteLLM: its proxy under the law, by a guardrail. It needs the extra `litellm`."""

from lastresort.adapters import missing

try:
    from .guardrail import LastResort
except ModuleNotFoundError as error:
    missing(error, __name__, "litellm")

__all__ = ["LastResort"]
