"""Writes tests/golden/rankings.json: rankings and what pytrec_eval measures of them.

    python -m venv peers && peers/bin/pip install pytrec-eval-terrier
    peers/bin/python benches/peers/rankings.py > tests/golden/rankings.json

Scores are multiples of 1/8, so that many are equal, in the first ranks and at the cut.
"""

import json
import random
from importlib.metadata import version

import pytrec_eval

CUTS = [1, 3, 10, 100]


def cut(run, k):
    """The first k documents of each query, as trec_eval orders them."""
    best = lambda item: (item[1], item[0])
    return {
        query: dict(sorted(scores.items(), key=best, reverse=True)[:k])
        for query, scores in run.items()
    }


def case(rng, name, documents, levels, grades, share):
    ids = [f"d{number}" for number in rng.sample(range(10 * documents), documents)]
    run, judged = {}, {}
    for number in range(8):
        query = f"q{number}"
        run[query] = {id: rng.randrange(levels) / 8 for id in ids}
        relevant = rng.sample(ids, max(1, int(share * documents)))
        judged[query] = {id: rng.choice(grades) for id in relevant}
        # A judged document that is not ranked.
        judged[query]["elsewhere"] = max(grades)
    judged["q6"] = {ids[0]: 0, ids[1]: min(grades)}
    # Nobody judged q7: trec_eval leaves it out.
    del judged["q7"]
    values = {}
    for k in CUTS:
        measures = {f"ndcg_cut.{k}", f"recall.{k}", f"P.{k}"}
        found = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(run)
        first = pytrec_eval.RelevanceEvaluator(judged, {"recip_rank"}).evaluate(cut(run, k))
        for query in found:
            values.setdefault(query, {})[str(k)] = {
                "mrr": first[query]["recip_rank"],
                "ndcg": found[query][f"ndcg_cut_{k}"],
                "recall": found[query][f"recall_{k}"],
                "precision": found[query][f"P_{k}"],
            }
    return {
        "name": name,
        "ids": ids,
        "scores": [[run[query][id] for id in ids] for query in run],
        "judged": [judged.get(query, {}) for query in run],
        "values": [values.get(query) for query in run],
    }


def main():
    rng = random.Random(18)
    cases = [
        case(rng, "few ties", 40, 400, [1], 0.2),
        case(rng, "graded, many ties", 120, 12, [0, 1, 2, 3], 0.2),
        case(rng, "all scores equal", 30, 1, [0, 1, 2], 0.3),
        case(rng, "negative grades", 60, 20, [-2, -1, 1, 2], 0.4),
        case(rng, "fewer documents than ranks", 5, 4, [1, 2], 0.6),
        case(rng, "nearly all relevant", 110, 30, [1, 4], 0.95),
    ]
    versions = {"pytrec-eval-terrier": version("pytrec-eval-terrier")}
    print(json.dumps({"versions": versions, "cases": cases}, indent=None, separators=(",", ":")))


if __name__ == "__main__":
    main()
