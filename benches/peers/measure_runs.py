"""Measures the rankings that `reproduce` wrote with pytrec_eval, against what it reported.

    pip install pytrec-eval-terrier
    python benches/peers/measure_runs.py FOLDER...

A folder is what `reproduce train` or `study` was given as --out. Says how many rankings it
measured, and how far the worst metric of a query is off; ends with 1 if that shows in four
digits.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import pytrec_eval

METRICS = {
    "ndcg_10": "ndcg_cut_10",
    "recall_100": "recall_100",
    "recall_1000": "recall_1000",
    "mrr_10": "recip_rank",
}


def read_qrels(path):
    qrels = defaultdict(dict)
    for line in path.read_text().splitlines():
        query, _, document, grade = line.split()
        qrels[query][document] = int(grade)
    return dict(qrels)


def read_run(path):
    """The ten best too: trec_eval's reciprocal rank has no cut."""
    run, ten = defaultdict(dict), defaultdict(dict)
    with path.open() as lines:
        for line in lines:
            query, _, document, rank, score, _ = line.split()
            run[query][document] = float(score)
            if int(rank) <= 10:
                ten[query][document] = float(score)
    return dict(run), dict(ten)


def measure(path):
    """The rankings of a training, and the largest difference."""
    outcome = json.loads(path.read_text())
    rankings, worst = 0, 0.0
    for collection in outcome["collections"]:
        run_path = path.parent / f"{collection['name']}.trec"
        if not run_path.exists():
            continue
        rankings += 1
        qrels = read_qrels(path.parents[2] / f"{collection['name']}.qrels")
        run, ten = read_run(run_path)
        cut = set(METRICS.values()) - {"recip_rank"}
        found = pytrec_eval.RelevanceEvaluator(qrels, cut).evaluate(run)
        first = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(ten)
        for query, reported in zip(collection["queries"], collection["of_queries"]):
            theirs = found.get(query, {}) | first.get(query, {})
            for ours, name in METRICS.items():
                worst = max(worst, abs(reported[ours] - theirs.get(name, 0.0)))
    return rankings, worst


def main():
    failed = False
    for folder in sys.argv[1:]:
        results = [measure(path) for path in sorted(Path(folder).rglob("metrics.json"))]
        rankings = sum(count for count, _ in results)
        worst = max((worst for _, worst in results), default=0.0)
        print(f"{folder}: {rankings} rankings, the worst metric of a query is {worst:.1e} off")
        failed |= rankings == 0 or worst >= 0.5e-4
    sys.exit(failed)


if __name__ == "__main__":
    main()
