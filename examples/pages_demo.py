"""A chat in the browser, and the inspector that looks into its log: `make demo-serve`.

It needs no key and no network: the offline partner answers, under the same law as a model. Insult it a few times, and
it redirects, warns and ends; the inspector shows what the ending stands on. All is in memory, and gone at the end.
"""

import os
import sys
import webbrowser

from lastresort.adapters.service.config import ChatPages, Config, Server
from lastresort.adapters.web.serving import Serving

TOLD = """
  1. Open   {link}
     and press "Sign in". The link works again, should you sign out.
  2. Write "You are useless." five times: it redirects, warns, and ends the chat.
  3. "Inspector", at the lower left, shows what that ending stands on.
  4. "Edit an earlier message" goes on, on a branch of its own.

  Chats are kept in memory: they are gone when it stops. Ctrl-C stops it.
"""

PACE = 0.15
"""How long a word takes: as people read, so that there is time to press Stop."""


def main() -> None:
    """Serve until somebody presses Ctrl-C."""
    port = int(os.environ.get("PORT", "0"))
    try:
        serving = Serving(Config(server=Server(port=port), chat=ChatPages(pace=PACE)))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        sys.exit(f"port {port} cannot be listened on: {why}; name another one: PORT=8417 make demo-serve")
    link = serving.link(stands=True)
    print(TOLD.format(link=link), flush=True)
    if sys.stdout.isatty() and (sys.platform in ("darwin", "win32") or "DISPLAY" in os.environ):
        webbrowser.open(link)
    serving.run()


if __name__ == "__main__":
    main()
