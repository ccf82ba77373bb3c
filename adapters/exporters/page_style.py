"""How the pages look that people open as files: the colours, in light and dark, and what every one of them needs."""

PALETTE = """:root {
  --paper: #fcfbf9; --card: #ffffff; --ink: #1d1f22; --muted: #5a5f66; --line: #e2dfd8; --accent: #2a5d8f;
  --mark: #8a3b12; --good: #2c6a45; --wash: #f3f1ec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --card: #1b1e22; --ink: #e9e6e0; --muted: #a2a6ad; --line: #32363c; --accent: #86b6e4;
    --mark: #eda57c; --good: #8fcfa8; --wash: #20242a;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", "DejaVu Sans",
    sans-serif;
  overflow-wrap: break-word;
}
.wide { max-width: 62rem; margin: 0 auto; padding: 0 1.1rem; }
a { color: var(--accent); text-underline-offset: .18em; text-decoration-thickness: 1px; }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: .5rem 1rem; z-index: 9; }
"""

HEAD = """<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
"""

LINES = """ol.lines { list-style: none; margin: .8rem 0; padding: 0; }
ol.lines > li { margin: .15rem 0; padding: .3rem .8rem; border-left: 3px solid transparent; }
.said { border-radius: 0 8px 8px 0; } li.user { border-left-color: var(--accent) !important; background: var(--wash); }
li.assistant { border-left-color: var(--good) !important; }
.who { color: var(--muted); font-size: .82rem; display: flex; flex-wrap: wrap; gap: 0 .9rem; }
.said p { white-space: pre-wrap; margin: .1rem 0; max-width: 46rem; } .gone { color: var(--muted); font-style: italic; }
li.law { color: var(--muted); font-size: .9rem; } li.law b { font-weight: 400; }
li.law.warning b, li.law.ending b, li.law.refused b, li.law.risk b { color: var(--mark); font-weight: 600; }
"""
"""How the lines of a conversation look: what was said, and the law between."""

MARKS = {
    "ConversationEnded": "ending", "WarningGiven": "warning", "RedirectionAttempted": "warning",
    "RiskRaised": "risk", "AttemptRefused": "refused",
}  # fmt: skip
"""Events that are marked in such lines, and as what."""
