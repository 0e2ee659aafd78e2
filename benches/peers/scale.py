"""Draws what `cargo bench --bench scale` has measured, with its slopes, and prints them.

    pip install matplotlib
    python benches/peers/scale.py docs/figures/scale.svg

Reads criterion's estimates of the baselines 1 and 2 (threads) in CRITERION, or else in
target/criterion. A slope is that between neighbours on logarithmic axes.
"""

import json
import math
import os
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

FOLDER = pathlib.Path(os.environ.get("CRITERION", "target/criterion"))
AXES = [
    "queries",
    "documents",
    "positives",
    "ids",
    "transposed documents",
    "side of a tile",
    "embedded queries",
    "embedded documents",
    "dimensions",
]


def measured(axis, threads):
    """Sizes and their median milliseconds."""
    points = {}
    for file in (FOLDER / axis).glob(f"*/{threads}/estimates.json"):
        median = json.loads(file.read_text())["median"]["point_estimate"]
        points[int(file.parent.parent.name)] = median / 1e6
    return sorted(points.items())


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    plt.rcParams.update({"font.size": 8, "svg.hashsalt": "scale", "svg.fonttype": "none"})
    figure, places = plt.subplots(3, 3, figsize=(9, 8), layout="constrained")
    for axis, place in zip(AXES, places.flat):
        ends = []
        for threads, marker in [(1, "o"), (2, "s")]:
            points = measured(axis, threads)
            if not points:
                raise SystemExit(f"no baseline {threads} of {axis} in {FOLDER}")
            sizes, times = zip(*points)
            style = dict(marker=marker, markersize=4, label=f"threads: {threads}")
            place.loglog(sizes, times, **style)
            pairs = zip(points, points[1:])
            slopes = [
                math.log(t2 / t1) / math.log(n2 / n1) for (n1, t1), (n2, t2) in pairs
            ]
            row = " ".join(f"{n}: {t:.3g}" for n, t in points)
            rounded = [f"{slope:.2f}" for slope in slopes]
            print(f"{axis}, {threads}: ms {row}; slopes", *rounded)
            ends.append(rounded[-1])
        place.set_title("slope at the end " + ", ".join(ends), fontsize=8)
        for side in place.xaxis, place.yaxis:
            side.set_minor_formatter(NullFormatter())
        if axis == "side of a tile":
            # Hardly a slope to see.
            place.set_yscale("linear")
            place.set_ylim(bottom=0)
        place.set_xlabel(axis)
        place.set_ylabel("milliseconds")
        place.grid(True, which="major", alpha=0.3)
    places[0][0].legend()
    figure.savefig(sys.argv[1], metadata={"Date": None})


main()
