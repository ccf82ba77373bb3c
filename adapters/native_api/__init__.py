"""The native API on the wire, which the service and its client share: what it takes and gives, and the client."""

from lastresort.adapters import needs

needs(__name__, "client", "httpx2")
