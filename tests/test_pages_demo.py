"""`make demo-serve`: a program that somebody starts who has never seen the project."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]


def test_the_demo_lets_somebody_in_and_says_what_to_do() -> None:
    program = [sys.executable, str(ROOT / "examples" / "pages_demo.py")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        try:
            told = "".join(
                iter(
                    demo.stdout.readline, "  Chats are kept in memory: they are gone when it stops. Ctrl-C stops it.\n"
                )
            )
            found = re.search(r"http://127\.0\.0\.1:\d+", told)
            path = re.search(r"/auth/link/\S+", told)
            assert found is not None
            assert path is not None
            assert "You are useless." in told
            with httpx2.Client(base_url=found[0], timeout=30) as client:
                for _ in range(2):  # somebody who signed out comes back in by the same link
                    assert "as often as you open it" in client.get(path[0]).text
                    signed_in = client.post(path[0], headers={"origin": found[0]})
                    cookie = {"cookie": signed_in.headers["set-cookie"].partition(";")[0]}
                    chat = client.get("/chat", headers=cookie).text
                    assert "Offline partner" in chat
                    assert "kept in memory" in chat
                    assert "Conversations" in client.get("/inspect", headers=cookie).text
                    client.post("/auth/out", headers=cookie | {"origin": found[0]})
                    assert client.get("/chat", headers=cookie).headers["location"] == "/sign-in"
                    assert "open the link from the terminal again" in client.get("/sign-in").text
        finally:
            demo.send_signal(signal.SIGINT)
        assert demo.wait(30) in (0, -signal.SIGINT, 130)
