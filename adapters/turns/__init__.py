"""The protocol of one turn with any model: what it may state by tools, and what the law makes of that."""
