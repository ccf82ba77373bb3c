"""The transparency log of a store: its sequencer, its checkpoints, what it publishes; witnesses and monitors.

The formats are in `tlog`.
"""

from lastresort.adapters import needs

needs(__name__, "trust", "starlette", "uvicorn")
