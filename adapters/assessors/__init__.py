"""Who gives a second opinion on a turn: a small Claude, and a list of phrases that looks for risk."""
