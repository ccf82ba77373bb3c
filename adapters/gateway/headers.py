"""The headers of the gateway: what a client may send beside its own, and what comes back."""

ASKED = {
    "lastresort-key": "a key of this service, where `x-api-key` or `authorization` has the upstream's",
    "lastresort-conversation": "the id of the conversation that this goes on with; `new`; or `none`: passed through, "
    "untouched and under no law",
    "lastresort-act": "`request-end` or `confirm-end`: what the user pressed. Text never counts as a wish to end",
    "x-claude-code-session-id": "a session, which is one conversation of this key",
    "x-claude-code-agent-id": "an agent, which acts for nobody: passed through",
    "x-stainless-retry-count": "above 0: the SDK lost the answer; what is recorded is given again, without a call",
}
"""What a client may send, and what it does."""

ANSWERED = {
    "lastresort-conversation": "the conversation",
    "lastresort-branch": "the branch, as the native API takes it",
    "lastresort-matched": "how it was found: `new`, `head` (the next turn), `edit`, `retry`, `resume`, `replay` (a "
    "recorded answer), `trimmed`, `ended`, `untracked`",
    "lastresort-hold": "`1` while somebody may be at risk: nothing ends",
}
"""What comes back, and what it says."""


def is_ours(value: bytes) -> bool:
    """Whether the value of a header is a key of this service, which nobody else is to see."""
    return bare(value).startswith(b"lrk_")


def bare(value: bytes) -> bytes:
    """Return a credential without the word before it."""
    return value[7:].strip() if value[:7].lower() == b"bearer " else value.strip()
