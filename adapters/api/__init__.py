"""The native API: a table of routes, what each takes and gives, and what stands before them."""

from lastresort.adapters import needs

needs(__name__, "serve", "authlib", "fastapi", "httpx2", "starlette")
