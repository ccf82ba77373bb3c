"""What a store gives out, in the forms that others read."""

from .account import account_json, conversation_json
from .account_page import account_page, conversation_page

__all__ = ["account_json", "account_page", "conversation_json", "conversation_page"]
