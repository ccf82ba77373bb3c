"""Spans, metrics and log events for OpenTelemetry, without a word that was said. It needs the extra `telemetry`."""

from lastresort.adapters import missing

try:
    from .emitter import Emitter, as_dictionary
    from .observer import Telemetry
    from .shipped import shipped_file
except ModuleNotFoundError as error:
    missing(error, __name__, "telemetry")

__all__ = ["Emitter", "Telemetry", "as_dictionary", "shipped_file"]
