"""The assessors that we ship: a small Claude for a second opinion on a turn, and a list of phrases of crisis."""
