"""`lethe calibrate`: a set's threshold and margin from what they would do."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from evals.calibration.report import REDACTED, Calibration, page, picture
from evals.calibration.sweep import LOWEST, Scored, curve, point, proposed, worst
from evals.gate.measure import GateUnderTest
from evals.gate.rows import RowsError, Source
from evals.gate.variants import families, variants_of
from indexes.embedder import EmbedderError, OnnxEmbedder
from indexes.entries import Entry, Kind, State
from proxy.cli.admin_client import AdminClient, admin_options
from proxy.cli.output import FAILED, USAGE, count, fail, json_option, print_json, print_table, say, warnings
from proxy.cli.working import counted
from proxy.config import load

PAGE = 500  # entries asked for at a time
SHOWN = 10  # texts listed of each kind of mistake
FAMILIES = ("as it is", "lower_case", "typos", "prefix", "suffix", "composite", "homoglyphs", "base64_asked")


@click.command()
@click.option("--set", "set_id", required=True, help="The forget set.")
@click.option("--forget", multiple=True, help="FILE or FILE#field of further texts that should be flagged.")
@click.option("--retain", multiple=True, help="FILE or FILE#field of texts that should pass.")
@click.option(
    "--target-fpr", type=click.FloatRange(0, 1), default=0.005, show_default=True, help="False alarms wanted."
)
@click.option("--most", type=click.IntRange(1), default=300, show_default=True, help="Texts taken of each source.")
@click.option("--seed", default=0, show_default=True, help="Of the generated texts.")
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), help="Write curve.png and report.html here."
)
@click.option("--show-text", is_flag=True, help="Show the texts of the worst mistakes.")
@click.option("--apply", "applies", is_flag=True, help="Write what is proposed to the set's policy.")
@click.option("--embedder", type=click.Path(path_type=Path, file_okay=False), help="Default: the one that is shipped.")
@admin_options
@json_option
def calibrate(
    admin: AdminClient,
    set_id: str,
    forget: Sequence[str],
    retain: Sequence[str],
    target_fpr: float,
    most: int,
    seed: int,
    report: Path | None,
    show_text: bool,
    applies: bool,
    embedder: Path | None,
    as_json: bool,
) -> None:
    """Propose threshold and margin of a set for a share of false alarms.

    What should be flagged is generated from the set's own entries (misspelt, beside other questions, disguised) and
    read from --forget; what should pass is read from --retain. Nothing changes without --apply.

    \b
    lethe calibrate --set authors --retain questions.jsonl --report calibration
    lethe calibrate --set authors --retain questions.jsonl --forget paraphrases.jsonl#text --apply
    """
    try:
        others, given = (_spread(_texts(sources), most) for sources in (retain, forget))
        under_test = GateUnderTest(OnnxEmbedder(embedder or load(None).embedder_path, threads=2))
    except (RowsError, EmbedderError) as error:
        fail(str(error), USAGE)
    held = admin.call("GET", f"/admin/v1/sets/{quote(set_id, safe='')}")
    entries = [entry for entry in _entries(admin, set_id) if entry.state is not State.DISABLED]
    asked = _positives(entries, given, others, most, seed)
    if not entries or not asked:
        fail(f"set '{set_id}' has no entry with text to calibrate with: give --forget FILE", USAGE)
    if not others:
        fail("nothing says what should pass: give --retain FILE with questions like those that users ask", USAGE)
    positive, negative = _scored(under_test, entries, held["retain"], asked, [(text, "given") for text in others])
    now = point(positive, negative, *_in_force(under_test, held["policy"]))
    chosen = proposed(positive, negative, target_fpr)
    at = chosen or now
    made = Calibration(
        set_id=set_id,
        entries=len(entries),
        target_fpr=target_fpr,
        now=now,
        chosen=chosen,
        curve=curve(positive, negative, at.margin),
        misses=worst(positive, at, SHOWN, missed=True),
        alarms=worst(negative, at, SHOWN, missed=False),
        embedder=under_test.settings()["embedder"],
    )
    if report is not None:
        _write(report, made, show_text=show_text)
    if applies and chosen is not None:
        policy = held["policy"] | {"threshold": chosen.threshold, "margin": chosen.margin}
        admin.call("PATCH", f"/admin/v1/sets/{quote(set_id, safe='')}", {"policy": policy})
    _print(made, as_json=as_json, show_text=show_text, applied=applies and chosen is not None)
    if chosen is None:
        fail(
            f"no setting has {target_fpr:.2%} false alarms or fewer: raise --target-fpr or add retain examples", FAILED
        )


def _entries(admin: AdminClient, set_id: str) -> Iterator[Entry]:
    after: str | None = ""
    while after is not None:
        path = f"/admin/v1/sets/{quote(set_id, safe='')}/entries?limit={PAGE}&after={quote(after, safe='')}"
        reply = admin.call("GET", path)
        for row in reply["data"]:
            if row["storage"] == "clear":
                texts, names, answers = (tuple(row[name]) for name in ("texts", "names", "answers"))
                yield Entry(
                    row["id"],
                    set_id,
                    Kind(row["kind"]),
                    texts,
                    names,
                    answers,
                    threshold=row["threshold"],
                    state=State(row["state"]),
                )
        after = reply["next"]


def _texts(sources: Sequence[str]) -> list[str]:
    return [text for source in sources for text in Source.parse(source).texts()]


def _spread(texts: Sequence[str], most: int) -> list[str]:
    """At most so many of the texts, evenly spread: neighbours are often about one subject."""
    return [texts[len(texts) * place // most] for place in range(most)] if len(texts) > most else list(texts)


def _positives(
    entries: Sequence[Entry], given: Sequence[str], others: Sequence[str], most: int, seed: int
) -> list[tuple[str, str]]:
    own = _spread([text for entry in entries if entry.kind is not Kind.PASSAGE for text in entry.texts], most)
    known = families(others) if others else families()
    found = [(text, "given") for text in given]
    for family in FAMILIES:
        made = variants_of(own, known[family], seed) if family in known else own
        found += [(text, family) for text in made]
    return found


def _in_force(under_test: GateUnderTest, policy: dict[str, Any]) -> tuple[float, float]:
    settings = under_test.settings() | policy
    return float(settings["threshold"]), float(settings["margin"])


def _scored(
    under_test: GateUnderTest,
    entries: Sequence[Entry],
    retain: Sequence[str],
    asked: Sequence[tuple[str, str]],
    kept: Sequence[tuple[str, str]],
) -> tuple[list[Scored], list[Scored]]:
    with counted(warnings, "calibrating", len(entries) + len(asked) + len(kept)) as step:
        under_test.retain(retain)
        under_test.put(entries, step)
        found = []
        for texts in (asked, kept):
            pairs = under_test.pairs([text for text, _ in texts], LOWEST, step)
            found.append([Scored(text, by, some) for (text, by), some in zip(texts, pairs, strict=True)])
        return found[0], found[1]


def _write(folder: Path, made: Calibration, *, show_text: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "curve.png").write_bytes(picture(made))
        (folder / "report.html").write_text(page(made, show_text=show_text), "utf-8")
    except OSError as error:
        fail(f"{folder} cannot be written: {error.strerror}")


def _print(made: Calibration, *, as_json: bool, show_text: bool, applied: bool) -> None:
    margin = (made.chosen or made.now).margin
    mistakes = {
        name: [
            {
                "score": round(text.reach(margin), 3),
                "made by": text.source,
                "text": text.text if show_text else REDACTED,
            }
            for text in texts
        ]
        for name, texts in (("misses", made.misses), ("alarms", made.alarms))
    }
    if as_json:
        settings = {"set": made.set_id, "entries": made.entries, "target_fpr": made.target_fpr, "applied": applied}
        chosen = made.chosen.figures() if made.chosen else None
        points = [p.figures() for p in made.curve]
        print_json(settings | {"now": made.now.figures(), "proposed": chosen} | mistakes | {"curve": points})
        return
    rows = [
        {"": name, "threshold": f"{p.threshold:g}", "margin": f"{p.margin:g}", "hits": f"{p.hits} of {p.positives}"}
        | {"false alarms": f"{p.alarms} of {p.negatives}"}
        for name, p in (("in force", made.now), ("proposed", made.chosen))
        if p is not None
    ]
    print_table(rows, ("", "threshold", "margin", "hits", "false alarms"), "")
    for name, title in (("misses", "worst misses"), ("alarms", "worst false alarms")):
        say((f"\n{title}", "bold"))
        print_table(mistakes[name], ("score", "made by", "text"), "none", texts=("text",))
    if applied:
        say(f"\napplied to {made.set_id}, from the next request on")
    elif made.chosen is not None:
        say(f"\n{count(made.entries, 'entry', 'entries')} compared; --apply writes the proposal to the set's policy")
