"""A gateway for the Messages API: an application changes its base URL, and its conversations come under the law."""

from lastresort.adapters import needs

needs(__name__, "serve", "aiohttp")
