"""`python -m tests.fuzz --count 100000`: mutated requests and upstream streams, as many as are wanted."""

import random
import time
from collections import Counter

import click

from tests.fuzz import requests, streams

PARTS = ("requests", "streams")


@click.command()
@click.option("--count", default=100_000, show_default=True, help="Requests, and streams.")
@click.option("--seed", default=0, show_default=True)
@click.option("--only", type=click.Choice(PARTS), help="One of the two.")
def main(count: int, seed: int, only: str | None) -> None:
    """Exit code 1 and the seed of the case when something leaks or fails unforeseen."""
    forbidden = streams.generations()
    for name in [only] if only else PARTS:
        ended: Counter[str] = Counter()
        started = time.perf_counter()
        with click.progressbar(range(seed, seed + count), label=name, update_min_steps=1000) as seeds:
            for one in seeds:
                rng = random.Random(one)
                try:
                    ended[requests.one(rng) if name == "requests" else streams.one(rng, forbidden)] += 1
                except Exception as error:
                    raise click.ClickException(f"{name}, seed {one}: {type(error).__name__}: {error}") from error
        click.echo(f"{name}: {count} in {time.perf_counter() - started:.1f} s; {dict(ended.most_common())}")


if __name__ == "__main__":
    main()
