"""The service: an HTTP API for any language, and where the gateway and it meet. `lastresort serve` runs it."""

from lastresort.adapters import needs

needs(__name__, "serve", "authlib", "fastapi", "prometheus_client", "starlette", "uvicorn")
