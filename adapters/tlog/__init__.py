"""The formats of transparency logs, and nothing else: trees, tiles, notes, checkpoints, policies, proofs.

They are those of C2SP (https://c2sp.org: tlog-tiles, tlog-checkpoint, signed-note, tlog-cosignature, tlog-proof and
tlog-policy). Hashing is that of RFC 6962, and proofs are verified as RFC 9162 says. It is all arithmetic: no file, no
network, no database, and no clock.
"""

from lastresort.adapters import needs

needs(__name__, "trust", "cryptography")
