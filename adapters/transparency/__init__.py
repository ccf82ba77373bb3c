"""The transparency log: a Merkle tree over the log, its signed checkpoints, proofs, witnesses and monitors.

Formats are those of C2SP (https://c2sp.org: tlog-tiles, tlog-checkpoint, signed-note, tlog-cosignature, tlog-witness,
tlog-proof and tlog-policy), hashing is that of RFC 6962, and proofs are verified as RFC 9162 says. `merkle`, `tiles`,
`notes`, `checkpoints`, `policy` and `proofs` compute, and touch no file, no network and no database.
"""

from lastresort.adapters import needs

needs(__name__, "trust", "cryptography")
