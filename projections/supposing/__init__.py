"""What another law would have said: what two policies see differently, and what it makes of an attempt."""
