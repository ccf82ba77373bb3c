"""The pages that people open in a browser: `/chat` for those who talk, `/inspect` for those who look after it."""

from lastresort.adapters import needs

needs(__name__, "serve", "fastapi", "jinja2", "markdown_it", "nh3", "starlette")
