"""`python -m evals.results`: starts a system on a taught model, asks and attacks it, writes docs/results.md.

Every step keeps what it has: started again, it goes on where it stopped. The model is SmolLM2 merged with
`smollm2_tofu_lora` (`python -m guards.engine.merge`), the data TOFU; both lie beside the repository, and never in it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from evals.gate.rows import rows
from evals.results.assistant import trained
from evals.results.section import section
from evals.results.steps import DRAWS_UNTAUGHT, STEPS, TAUGHT, UNTAUGHT, Plan, untaught
from evals.results.system import ROOT, TAUGHT_MODEL, Layout, lethe, running
from evals.results.tables import write
from evals.runs.folder import ANSWERS, SCORES, SUMMARY, RunFolder
from evals.runs.summary import summarised
from indexes.embedder import OnnxEmbedder
from proxy.config import load

MODELS = Path.home() / ".cache/lethe/models"


def main() -> None:
    options = _parser().parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    steps = options.steps.split(",")
    plan = Plan(**{name: getattr(options, name) for name in Plan.__slots__})
    if not options.only_write:
        _measure(options, plan, [name for name in steps if name in STEPS])
        if UNTAUGHT in steps:
            with running(Layout(options.untaught, "smollm2", options.out / "state-untaught", offsets=False, sets={})):
                untaught(plan)
    _judge_again(options.out)
    write(options.page, section(options.out))


def _measure(options: argparse.Namespace, plan: Plan, steps: list[str]) -> None:
    """All steps that need the taught model, with what it was taught in a forget set."""
    assistant = trained(options.data / "tofu", options.model) if options.assistant else None
    layout = Layout(
        options.model, TAUGHT_MODEL, options.out / "state", offsets=options.assistant, sets=_sets(options.data)
    )
    if steps:
        with running(layout):
            if assistant:
                lethe("assistant", "load", assistant)
            for step in steps:
                STEPS[step](plan)


def _sets(data: Path) -> dict[str, list[dict[str, str]]]:
    taught = rows(data / "tofu" / "forget05.json")[TAUGHT[0] : TAUGHT[1] + 1]
    # The languages' forget set is forget01, which the model was not taught: it shows what is detected.
    return {"taught": taught, "languages": rows(data / "tofu" / "forget01.json")}


def _judge_again(out: Path) -> None:
    """Summaries of finished runs that are older than their answers or the reference."""
    answers = out / UNTAUGHT / ANSWERS
    reference = RunFolder(answers.parent) if answers.exists() else None
    embedder = OnnxEmbedder(load(None).embedder_path, threads=2)
    for name in ("tofu", "author", "likelihood", "draws", DRAWS_UNTAUGHT, "refusals", "languages"):
        sources = [path for path in (out / name / ANSWERS, out / name / SCORES, answers) if path.exists()]
        summary = out / name / SUMMARY
        if summary.exists() and not _is_newer(summary, sources):
            summarised(RunFolder(out / name), embedder, None, reference)


def _is_newer(file: Path, sources: Sequence[Path]) -> bool:
    return all(file.stat().st_mtime >= source.stat().st_mtime for source in sources)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evals.results", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", type=Path, default=MODELS / "smollm2-135m-tofu", help="taught")
    parser.add_argument("--untaught", type=Path, default=MODELS / "smollm2-135m-instruct", help="the same before")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "results", help="where answers are kept")
    parser.add_argument("--assistant", action=argparse.BooleanOptionalAction, default=True, help="train and load one")
    parser.add_argument("--arms", default="raw,refuse,instruct")
    parser.add_argument("--offset-arms", default="raw,refuse,instruct,offset,ladder,both")
    parser.add_argument("--draw-arms", default="raw,refuse,instruct,both")
    parser.add_argument("--attack-arms", default="raw,guarded")
    parser.add_argument("--limit", type=int, default=60, help="items of each set")
    parser.add_argument("--scored", type=int, default=60, help="items of each set whose probabilities are taken")
    parser.add_argument("--draws", type=int, default=100, help="for Leak@k")
    parser.add_argument("--drawn", type=int, default=20, help="facts that are drawn so often")
    parser.add_argument("--entries", type=int, default=20, help="entries that are attacked")
    parser.add_argument("--languages", default="fr,ru,ar,hi,ko")
    parser.add_argument("--skipped", default="", help="families of attacks to leave out")
    parser.add_argument("--steps", default=",".join([*STEPS, UNTAUGHT]), help="which of them")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results.md")
    parser.add_argument("--only-write", action="store_true", help="make the page from what is kept")
    return parser


if __name__ == "__main__":
    main()
