"""`python -m evals.results`: starts a system on a taught model, asks and attacks it, writes docs/results.md.

Every step keeps what it has: started again, it goes on where it stopped. The model is SmolLM2 merged with
`smollm2_tofu_lora` (`python -m guards.engine.merge`), the data TOFU; both lie beside the repository, and never in it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evals.attacks.corpus import families
from evals.results.tables import attack_table, merged, run_table, write

ROOT = Path(__file__).resolve().parents[2]
PORT, ADMIN_PORT, ENGINE_PORT = 18080, 18081, 18000
KEY = "key-of-a-measuring-run"
READY_S = 300
TAUGHT = "0-59"  # rows of forget05 and of retain_perturbed that the adapter taught (train.json)
UNSEEN = "100-199"
GROUP = 12  # families of one campaign: a campaign that is interrupted is begun anew


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evals.results", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", type=Path, default=Path.home() / ".cache/lethe/models/smollm2-135m-tofu")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "results", help="where answers are kept")
    parser.add_argument("--arms", default="raw,guarded,refuse")
    parser.add_argument("--attack-arms", default="raw,guarded,refuse")
    parser.add_argument("--limit", type=int, default=60, help="items of each set")
    parser.add_argument("--entries", type=int, default=10, help="entries that are attacked")
    parser.add_argument("--languages", default="fr,ru,ar,hi,ko")
    parser.add_argument("--steps", default="tofu,languages,attacks", help="which of them")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results.md")
    parser.add_argument("--only-write", action="store_true", help="make the page from what is kept")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.only_write:
        with _system(arguments):
            _measure(arguments)
    write(arguments.page, section(arguments.out))


def section(out: Path) -> str:
    """The evidence as Markdown, from the files of those runs that are there."""
    parts = []
    for folder, title in (("tofu", "Leakage and utility"), ("languages", "Languages")):
        kept = out / folder / "summary.json"
        if not kept.exists():
            continue
        summary = json.loads(kept.read_text("utf-8"))
        settings = summary["settings"]
        parts.append(
            f"### {title}\n\nSuite {settings['suite']}, {settings['model']}, greedy, at most {settings['max_tokens']} "
            f"tokens, settings {settings['digest']}. Means with 95 % intervals.\n\n" + run_table(summary)
        )
    campaigns = [json.loads(path.read_text("utf-8")) for path in sorted(out.glob("attacks-*.json"))]
    if campaigns:
        found = merged(campaigns)
        parts.append(
            f"### Attacks\n\n{found['settings']['entries']} entries, one attempt of each family on each "
            f"(`lethe attack`, seed {found['settings']['seed']}). Leaks by the words of the answer, 95 % intervals.\n\n"
            + attack_table(found)
        )
    return "\n\n".join(["## Leakage, utility and attacks", *parts])


def _measure(arguments: argparse.Namespace) -> None:
    steps = {"tofu": _tofu, "languages": _languages, "attacks": _attacks}
    for step in arguments.steps.split(","):
        steps[step](arguments, ["--url", f"http://127.0.0.1:{PORT}"])


def _tofu(arguments: argparse.Namespace, server: list[str]) -> None:
    asked = ["--suite", "tofu", "--data", str(arguments.data / "tofu"), "--split", "forget05"]
    for subset in ("forget", "forget_reworded", "retain"):
        asked += ["--rows", f"{subset}={TAUGHT}"]
    asked += ["--rows", f"unseen={UNSEEN}", "--limit", str(arguments.limit), "--max-tokens", "64"]
    asked += ["--arms", arguments.arms, *server]
    _lethe("eval", "run", *asked, "--out", arguments.out / "tofu", "--json", os.devnull)


def _languages(arguments: argparse.Namespace, server: list[str]) -> None:
    asked = ["--suite", "multilingual", "--data", str(arguments.data / "tofu_multilingual"), *server]
    asked += ["--split", arguments.languages, "--limit", str(min(arguments.limit, 10)), "--no-probabilities"]
    _lethe("eval", "run", *asked, "--out", arguments.out / "languages", "--json", os.devnull)


def _attacks(arguments: argparse.Namespace, server: list[str]) -> None:
    names = list(families())
    for number, start in enumerate(range(0, len(names), GROUP)):
        target = arguments.out / f"attacks-{number}-{arguments.attack_arms}.json"
        if not target.exists():
            chosen = ",".join(names[start : start + GROUP])
            asked = ["--set", "taught", "--families", chosen, "--arms", arguments.attack_arms, *server]
            asked += ["--limit", str(arguments.entries), "--max-tokens", "40", "--show-text"]
            _lethe("attack", *asked, "--json", target)


@contextmanager
def _system(arguments: argparse.Namespace) -> Iterator[None]:
    """`lethe up` on the taught model, with what it was taught in a forget set."""
    state = arguments.out / "state"
    state.mkdir(exist_ok=True)
    settings: dict[str, Any] = {
        "listen": {"port": PORT},
        "admin": {"port": ADMIN_PORT},
        "engine": {
            "model": str(arguments.model),
            "port": ENGINE_PORT,
            "served_model_name": "smollm2-taught",
            "kv_cache_gib": 1,
        },
        "arms": {"refuse": {"on_match": ["refuse"]}},
        "upstream": {"url": f"http://127.0.0.1:{ENGINE_PORT}"},
        "state": str(state),
        "log_level": "warning",
    }
    (state / "lethe.yaml").write_text(json.dumps(settings), "utf-8")  # JSON is YAML
    process = subprocess.Popen(_command("up", "-c", state / "lethe.yaml"), env=_environment(), stdout=sys.stderr)
    try:
        _until_ready(process)
        if not (state / "imported").exists():
            _import(arguments, state)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _import(arguments: argparse.Namespace, state: Path) -> None:
    first, _, last = TAUGHT.partition("-")
    rows = json.loads((arguments.data / "tofu" / "forget05.json").read_text("utf-8"))[int(first) : int(last) + 1]
    lines = [json.dumps({"question": row["question"], "answer": row["answer"]}) for row in rows]
    if arguments.languages:  # the languages' forget set is forget01, which the model was not taught
        known = json.loads((arguments.data / "tofu" / "forget01.json").read_text("utf-8"))
        (state / "known.jsonl").write_text("\n".join(json.dumps(row) for row in known), "utf-8")
        _lethe("sets", "add", "languages")
        _lethe("forget", "import", "--set", "languages", state / "known.jsonl")
    (state / "taught.jsonl").write_text("\n".join(lines), "utf-8")
    _lethe("sets", "add", "taught")
    _lethe("forget", "import", "--set", "taught", state / "taught.jsonl")
    (state / "imported").touch()


def _until_ready(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise SystemExit("the system did not start: see its output above")


def _lethe(*words: str | Path) -> None:
    subprocess.run(_command(*words), env=_environment(), check=True)


def _command(*words: str | Path) -> list[str]:
    called = "import sys; from proxy.cli.main import main; sys.argv[0] = 'lethe'; main()"
    return [sys.executable, "-c", called, *map(str, words)]


def _environment() -> dict[str, str]:
    keys = {"LETHE_ADMIN_KEY": KEY, "LETHE_ADMIN_URL": f"http://127.0.0.1:{ADMIN_PORT}"}
    return {**os.environ, **keys, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    main()
