"""Behaves like `python -m vllm.entrypoints.openai.api_server` as far as a supervisor can see. Standard library only.

Its behaviour is set by environment variables, so that it is a real child process with a real port:

FAKE_START_S          seconds before it answers
FAKE_EXIT             ends with this status instead of answering, after printing FAKE_SAYS
FAKE_DIE_AFTER_S      seconds after which it ends once it answers
FAKE_DIE_TIMES        how many of its lives end like that (counted in FAKE_DIARY); default: all
FAKE_DEAF_AFTER       how many times it answers: nothing after that
FAKE_STUBBORN         ignores SIGTERM
FAKE_CHILDREN         starts two children that ignore SIGTERM, one in a session of its own
FAKE_NOISE            prints a line that is too long and one that is no UTF-8
FAKE_DIARY            a file that gets a line "pid" for each process
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STUBBORN_CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def setting(name: str, default: float | None = None) -> float | None:
    """A number from the environment."""
    return float(os.environ[name]) if name in os.environ else default


def note(pid: int) -> int:
    """Write a process into the diary; how many lives it holds now."""
    if "FAKE_DIARY" not in os.environ:
        return 1
    diary = Path(os.environ["FAKE_DIARY"])
    with diary.open("a") as file:
        file.write(f"{pid}\n")
    return len(diary.read_text().split())


def main(arguments: list[str]) -> None:
    """Start, answer, end."""
    option = dict(itertools.pairwise(arguments))
    lives = note(os.getpid())
    if "FAKE_STUBBORN" in os.environ:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "FAKE_CHILDREN" in os.environ:
        for own_session in (False, True):
            note(subprocess.Popen([sys.executable, "-c", STUBBORN_CHILD], start_new_session=own_session).pid)
    if "FAKE_NOISE" in os.environ:
        sys.stdout.buffer.write(b"x" * 600_000 + b"\n100 % of \xff\xfe\n")
    print("(APIServer) INFO non-default args: {}", flush=True)
    print("(EngineCore) INFO Initializing a V1 LLM engine", flush=True)
    time.sleep(setting("FAKE_START_S", 0.0) or 0.0)
    if "FAKE_EXIT" in os.environ:
        print(os.environ.get("FAKE_SAYS", ""), flush=True)
        sys.exit(int(os.environ["FAKE_EXIT"]))
    answers = itertools.count()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            deaf_after = setting("FAKE_DEAF_AFTER")
            if deaf_after is not None and next(answers) >= deaf_after:
                time.sleep(600)
            served = {"data": [{"id": option["--served-model-name"], "saw": dict(self.headers)}]}
            body = json.dumps(served).encode() if self.path == "/v1/models" else b""
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    die_after = setting("FAKE_DIE_AFTER_S")
    if die_after is not None and lives <= (setting("FAKE_DIE_TIMES", 1e9) or 0):
        threading.Timer(die_after, os._exit, (3,)).start()
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer((option["--host"], int(option["--port"])), Answer)
    print("(APIServer) INFO Starting vLLM server", flush=True)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    if sys.argv[1] == "-c":  # asked whether it has vLLM: it says yes
        sys.exit(0)
    main(sys.argv[3:])
