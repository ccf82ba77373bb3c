"""The log as an eval log of Inspect, which `inspect view` and its scanners read. It needs the extra `inspect`."""

from lastresort.adapters import missing

try:
    from .inspect_log import write_eval_log
    from .turns import Said
except ModuleNotFoundError as error:
    missing(error, __name__, "inspect")

__all__ = ["Said", "write_eval_log"]
