"""LangChain: agents made by `create_agent` under the law, as a middleware. It needs the extra `langchain`."""

from lastresort.adapters import missing

try:
    from .middleware import LastResort, shown
except ModuleNotFoundError as error:
    missing(error, __name__, "langchain")

__all__ = ["LastResort", "shown"]
