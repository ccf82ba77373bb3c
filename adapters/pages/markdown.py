"""Markdown as models write it, as HTML that can do nothing: raw HTML is text, and what comes out is sanitised.

Pictures are left out: their address would tell the server named there that somebody reads this, and what the model was
made to put into the address.
"""

import nh3
from markdown_it import MarkdownIt

from lastresort.adapters.exporters.text import readable_text

_PARSER = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"]).disable("image")
_TAGS = {
    "p", "br", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "h1", "h2", "h3", "h4", "h5", "h6",
    "hr", "a", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_LINKS = {"http", "https", "mailto"}


def rendered(text: str) -> str:
    """Return markdown as HTML."""
    # A heading within an answer is below that of the answer, which is of the second rank.
    html = _PARSER.render(readable_text(text))
    for rank in (5, 4, 3, 2, 1):
        html = html.replace(f"<h{rank}>", f"<h{rank + 2 if rank < 4 else 6}>")
        html = html.replace(f"</h{rank}>", f"</h{rank + 2 if rank < 4 else 6}>")
    return nh3.clean(
        html, tags=_TAGS, attributes={"a": {"href", "title"}, "ol": {"start"}}, url_schemes=_LINKS,
        link_rel="noopener noreferrer nofollow",
    )  # fmt: skip


class Growing:
    """An answer that grows. What is whole of it is rendered once; only the last block is rendered again."""

    def __init__(self) -> None:
        self._open = ""

    def add(self, piece: str) -> None:
        """Add what came."""
        self._open += piece

    def take(self) -> tuple[str, str]:
        """Return the blocks that have become whole since, and the one that still grows."""
        begins = [one.map[0] for one in _PARSER.parse(self._open) if one.level == 0 and one.map]
        whole = ""
        if len(begins) > 1 and begins[-1] > 0:
            lines = self._open.splitlines(keepends=True)
            whole, self._open = "".join(lines[: begins[-1]]), "".join(lines[begins[-1] :])
        return rendered(whole) if whole else "", rendered(self._open)
