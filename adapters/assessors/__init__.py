"""The assessors that we ship: a small Claude for a second opinion on a turn, and a list of phrases of crisis."""

SHIPPED = ("risk-screen", "toy-assessor", "claude", "local")
"""The names of those that judge imported chats: see `shipped`."""
