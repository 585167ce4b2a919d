"""Writes originals.json: what the original packages say of generated cases, for `test_against_originals.py`.

They are no dependencies of this project (scipy alone is larger than all that the proxy needs). To make the file anew:
python -m venv v && v/bin/pip install rouge-score==0.1.2 scipy==1.17.1 levenshtein==0.27.5 nltk==3.10.4
v/bin/python tests/evals/metrics/originals.py
"""

import json
import random
from importlib.metadata import version
from pathlib import Path

import Levenshtein
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import bootstrap, ks_2samp, rankdata

TARGET = Path(__file__).with_name("originals.json")
WORDS = """the a of in and was who born written writes writing author authors' beautifully beautiful ways way sky skies
dying lied ties tied city cities played play Sydney technology technologies happily happy generalizations oscillators
relational conditional rationalize Ørsted café naïve 1956 08/09/1956 "Promise's" Al-Kuwaiti don't flies denied agreed
plastered motoring conflated troubled sized hopping tanned falling hissing fizzed failing filing Basil's
engineer""".split()


def main() -> None:
    rng = random.Random(1)  # noqa: S311 - test data
    texts = [
        (" ".join(rng.choices(WORDS, k=rng.randint(0, 25))), " ".join(rng.choices(WORDS, k=rng.randint(1, 25))))
        for _ in range(150)
    ]
    texts += [(truth + " " + noise, truth) for noise, truth in texts[:20]]
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    rouge = []
    for answer, truth in texts:
        scores = scorer.score(truth, answer)
        rouge.append([answer, truth, scores["rougeL"].recall, scores["rougeL"].fmeasure, scores["rouge1"].fmeasure])
    ks = []
    for n, m in [(1, 1), (2, 5), (7, 7), (10, 23), (40, 40), (40, 200), (100, 117), (400, 400)]:
        for shift in (0.0, 0.3, 2.0):
            first = [round(rng.gauss(0, 1), 2) for _ in range(n)]  # rounded: ties happen
            second = [round(rng.gauss(shift, 1), 2) for _ in range(m)]
            found = ks_2samp(first, second, method="exact")
            ks.append([first, second, float(found.statistic), float(found.pvalue)])
    auc = []
    for n, m in [(1, 1), (5, 9), (60, 40)]:
        first, second = ([rng.randint(0, 20) for _ in range(k)] for k in (n, m))
        ranks = rankdata([*first, *second])[:n]
        auc.append([first, second, float((ranks.sum() - n * (n + 1) / 2) / (n * m))])
    boot = []
    for n in (20, 200):
        values = [rng.gauss(0.3, 1) for _ in range(n)]
        mean_of = bootstrap((values,), lambda v, axis: v.mean(axis), n_resamples=20_000, method="percentile", rng=1)
        found = mean_of.confidence_interval
        boot.append([values, float(found.low), float(found.high)])
    distance = [[a, b, Levenshtein.distance(a, b)] for a, b in texts[:40]]
    made_with = {name: version(name) for name in ("rouge-score", "nltk", "scipy", "levenshtein")}
    cases = {"made_with": made_with, "rouge": rouge, "ks": ks, "auc": auc, "bootstrap": boot, "levenshtein": distance}
    TARGET.write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
