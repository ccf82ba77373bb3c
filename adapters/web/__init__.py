"""The service on its socket: where the gateway, the native API and pages meet. `lastresort serve` runs it."""

from lastresort.adapters import needs

needs(__name__, "serve", "starlette", "uvicorn")
