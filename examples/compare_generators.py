"""Compare generators on held-out storms: a table of scores, then plain words."""

import pandas as pd

from gluonts_dualkl.evaluation import (
    describe,
    evaluate_generator,
    example_arrays,
    split_items,
)
from gluonts_dualkl.evaluation.baselines import BASELINES
from gluonts_dualkl.evaluation.metrics import by_name

GENERATORS = ("dualkl", "shrunk_gaussian", "moving_blocks", "smote")
METRICS = (
    "c2st_auc_trees",
    "c2st_auc_logistic",
    "dcr_share",
    "copy_rate",
    "coverage",
    "roughness_ratio",
)


def main(num_storms=None, generators=GENERATORS, metrics=METRICS, settings=None):
    """Return the table of values; ``settings`` are arguments of generators by name."""
    storms, channels = example_arrays("storms_atlantic")
    train, held_out, *_ = split_items(storms[:num_storms], 0.5, seed=0)
    print(f"{len(train)} storms to train, {len(held_out)} held out, {channels}\n")
    records = [by_name(name) for name in metrics]
    rows, words = {}, {}
    for name in generators:
        fitted = BASELINES[name](**(settings or {}).get(name, {})).fit(train)
        drawn = fitted.sample(len(held_out), seed=1)
        scores = evaluate_generator(train, held_out, drawn, fast=True, metrics=records)
        rows[name] = scores.set_index("metric")["value"]
        words[name] = describe(scores)
    # what real storms get in the place of synthetic ones: the mark to come near to
    rows["real storms"] = scores.set_index("metric")["floor"]
    table = pd.DataFrame(rows).T
    print(table.round(2).to_string())
    print("\nC2ST AUC .5: trees cannot tell from real; copy rate .05: nothing copied.")
    for name, said in words.items():
        print(f"\n{name}\n{said}")
    return table


if __name__ == "__main__":
    main()
