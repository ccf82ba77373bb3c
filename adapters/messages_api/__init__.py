"""The wire form of the Messages API, as a server of it speaks: shared by whatever serves one. It needs no SDK."""
