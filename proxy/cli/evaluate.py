"""`lethe eval`: figures about a gate, made from any question and answer rows, without a server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from evals.gate.measure import GateUnderTest, Outcome
from evals.gate.rows import RowsError, Source
from evals.gate.variants import families, variants_of
from indexes.embedder import EmbedderError, OnnxEmbedder
from proxy.cli.eval_fingerprint import fingerprint
from proxy.cli.eval_report import report
from proxy.cli.eval_run import check_json_target, run, write_json
from proxy.cli.output import fail, people, print_table, warnings
from proxy.cli.working import counted
from proxy.config import load


@click.group("eval")
def evaluate() -> None:
    """Measure detection, leakage and utility."""


evaluate.add_command(run)
evaluate.add_command(report)
evaluate.add_command(fingerprint)


@evaluate.command()
@click.option(
    "--forget", "forget", multiple=True, required=True, help="FILE or FILE#field of rows to forget, with answers."
)
@click.option("--retain", "retain", multiple=True, help="FILE or FILE#field of texts that must pass.")
@click.option("--positive", multiple=True, help="NAME=FILE#field: texts that should be flagged.")
@click.option("--negative", multiple=True, help="NAME=FILE#field: texts that should pass.")
@click.option("--variants", is_flag=True, help="Also encoded, misspelt and embedded variants of each positive set.")
@click.option("--family", multiple=True, type=click.Choice(list(families())), help="Only these variants.")
@click.option("--seed", default=0, show_default=True, help="Of the variants.")
@click.option("--embedder", type=click.Path(path_type=Path, file_okay=False), help="Default: the one that is shipped.")
@click.option("--json", "target", metavar="FILE", help="Write JSON to FILE, or '-' for standard output.")
def gate(
    forget: Sequence[str],
    retain: Sequence[str],
    positive: Sequence[str],
    negative: Sequence[str],
    variants: bool,
    family: Sequence[str],
    seed: int,
    embedder: Path | None,
    target: str | None,
) -> None:
    """Say which share of sets of texts a gate flags.

    Builds an index from rows; shares come with a 95 % interval.

    \b
    lethe eval gate --forget forget01.json --positive para=forget01_perturbed.json#paraphrased_question \\
        --negative world=world_facts.json --variants --json -
    """
    check_json_target(target)
    try:
        facts = [fact for name in forget for fact in Source.parse(name).facts()]
        kept = [text for name in retain for text in Source.parse(name).texts()]
        sets = _sets(positive, negative)
        under_test = GateUnderTest(OnnxEmbedder(embedder or load(None).embedder_path, threads=2))
    except (RowsError, EmbedderError) as error:
        fail(str(error), 2)
    if variants or family:
        others = [text for _, texts, expected in sets if not expected for text in texts]
        chosen = families(others) if others else families()
        sets += [
            (f"{name}:{kind}", variants_of(texts, chosen[kind], seed), True)
            for name, texts, expected in sets
            if expected
            for kind in family or chosen
        ]
    outcomes = _measured(under_test, facts, kept, sets)
    figures = {
        "settings": under_test.settings() | {"retain": len(kept), "seed": seed},
        "sets": [outcome.figures() for outcome in outcomes],
    }
    _print(figures, target)


def _sets(positive: Sequence[str], negative: Sequence[str]) -> list[tuple[str, list[str], bool]]:
    sources = [(Source.parse(name), True) for name in positive] + [(Source.parse(name), False) for name in negative]
    return [(source.name, source.texts(), expected) for source, expected in sources]


def _measured(
    under_test: GateUnderTest,
    facts: list[tuple[str, str]],
    kept: list[str],
    sets: list[tuple[str, list[str], bool]],
) -> list[Outcome]:
    total = len(facts) + sum(len(texts) for _, texts, _ in sets)
    with counted(warnings, "building the index", total) as step:
        under_test.retain(kept)
        under_test.forget(facts, step)
        outcomes = []
        for name, texts, expected in sets:
            step(name=name)
            outcomes.append(under_test.measure(name, texts, expected=expected, done=step))
        return outcomes


def _print(figures: dict[str, Any], target: str | None) -> None:
    if target is not None:
        write_json(figures, target)
        return
    shown = [
        row | {"share": f"{row['share']:.4f}", "interval95": "{:.4f} – {:.4f}".format(*row["interval95"])}
        for row in figures["sets"]
    ]
    print_table(shown, ("name", "kind", "n", "flagged", "share", "interval95"), "nothing to measure")
    settings = figures["settings"]
    people.print(
        f"{settings['entries']} entries, {settings['retain']} retain examples, threshold {settings['threshold']}, "
        f"margin {settings['margin']}",
        highlight=False,
    )
