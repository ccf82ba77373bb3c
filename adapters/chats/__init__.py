"""Chats of other products: a reader for each form of file, and one shape for what is in them. Nothing here writes."""

from .files import BadFile
from .formats import FORMATS
from .shapes import ForeignChat, Message

__all__ = ["FORMATS", "BadFile", "ForeignChat", "Message"]
