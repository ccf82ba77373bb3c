"""What a service is made of behind its addresses: tenants, keys, people, limits, the admin log, jobs and counters."""

from lastresort.adapters import needs

needs(__name__, "serve", "fastapi", "prometheus_client", "starlette", "uvicorn")
