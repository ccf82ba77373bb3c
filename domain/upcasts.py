"""How events of earlier schema versions become those of today.

A log outlives the program that wrote it. Whoever changes the fields of an event gives its type the next
`schema_version` and registers here, under the kind and the version before, the step that makes the old fields into the
new. A step is pure, and steps are never removed. So far every event is as it was first written.
"""

from collections.abc import Callable, Mapping
from typing import Any

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the fields of an event of one version and returns those of the next."""

UPCASTS: Mapping[tuple[str, int], Upcast] = {}
"""The steps, by kind and the version that they start from."""
