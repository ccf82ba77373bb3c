"""What reads the committed log after the fact, exactly once: views in a database, and the loop that keeps them up."""

from lastresort.adapters import needs

needs(__name__, "store", "eventsourcing")
