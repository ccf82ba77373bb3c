"""The files that are shipped for Prometheus and Grafana."""

from pathlib import Path
from typing import Literal

FILES = Path(__file__).with_name("files")


def shipped_file(name: Literal["alerts.yml", "dashboard.json"]) -> Path:
    """Return where a file is: alert rules for Prometheus, or a dashboard for Grafana."""
    return FILES / name
