"""The words, sealed beside the log: their keys, the master key that wraps these, and snapshots of states."""

from lastresort.adapters import needs

needs(__name__, "store", "eventsourcing", "cryptography")
