"""Documents for people: one HTML file each, which opens offline. It needs the extra `documents`."""

from lastresort.adapters import needs

needs(__name__, "documents", "jinja2", "jsonschema", "matplotlib")
