"""The log as Parquet, for what reads columns, and back. It needs the extra `parquet`."""

from lastresort.adapters import missing

try:
    from .files import UnreadableParquet, read_parquet, write_parquet
except ModuleNotFoundError as error:
    missing(error, __name__, "parquet")

__all__ = ["UnreadableParquet", "read_parquet", "write_parquet"]
