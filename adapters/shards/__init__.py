"""Several stores as one: the map of them, their conversations, their logs. `open_conversations` opens them."""
