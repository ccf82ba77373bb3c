"""The log as Parquet, for what reads columns, and back. It needs the extra `parquet`."""

from lastresort.adapters import missing

try:
    from .columns import PARTITION, SCHEMA, STRUCTS
    from .files import MOST_PARTS, PARTS, UnreadableParquet, read_parquet, write_parquet
except ModuleNotFoundError as error:
    missing(error, __name__, "parquet")

__all__ = [
    "MOST_PARTS",
    "PARTITION",
    "PARTS",
    "SCHEMA",
    "STRUCTS",
    "UnreadableParquet",
    "read_parquet",
    "write_parquet",
]
