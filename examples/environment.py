"""Atlantic storms: extremes, hours of hurricane-force wind, and the season.

A synthetic storm starts in the month of the training storm that it mostly follows, so
the months are those of the training set; how storms behave in them is the question.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from gluonts_dualkl import DualKLEstimator, dataset_from_frame, dataset_to_array
from gluonts_dualkl.evaluation import evaluate_generator, load_example, split_items
from gluonts_dualkl.plotting.pictures import draw_lines

CHANNELS = ["lat", "long", "wind", "pressure"]
SEASONS = {"January to July": 7, "August": 8, "September": 9, "October to December": 12}
HURRICANE = 64  # kt


def extremes(x):
    """Extremes of storms ``(n, 24, 4)``: wind in kt, pressure in hPa, steps of 6 h."""
    wind, pressure = x[..., 2].max(1), x[..., 3].min(1)
    hours = 6 * (x[..., 2] >= HURRICANE).sum(1)
    return {
        "maximum wind, mean": wind.mean(),
        "maximum wind, 10 % exceed": np.quantile(wind, 0.9),
        "maximum wind, 2 % exceed": np.quantile(wind, 0.98),
        "minimum pressure, mean": pressure.mean(),
        "minimum pressure, 10 % fall below": np.quantile(pressure, 0.1),
        "minimum pressure, 2 % fall below": np.quantile(pressure, 0.02),
        "storms that become hurricanes, %": 100 * (hours > 0).mean(),
        "hours of hurricane wind, mean of these": hours[hours > 0].mean(),
    }


def with_interval(x, num_draws=300):
    """Extremes of real storms between 5 and 95 % quantiles over resampled storms."""
    picks = np.random.default_rng(0).integers(len(x), size=(num_draws, len(x)))
    draws = pd.DataFrame([extremes(x[pick]) for pick in picks]).quantile([0.05, 0.95])
    return {"5 %": draws.loc[0.05], "held out": extremes(x), "95 %": draws.loc[0.95]}


def by_season(entries):
    """Share of storms by season, and how strong and how far north they get."""
    x = dataset_to_array(entries).astype(float).max(1)
    months = [entry["start"].month for entry in entries]
    season = pd.cut(months, [0, *SEASONS.values()], labels=list(SEASONS))
    storms = pd.DataFrame({"wind, kt": x[:, 2], "latitude": x[:, 0]})
    groups = storms.groupby(season, observed=False)
    shares = (100 * groups.size() / len(x)).rename("storms, %")
    return pd.concat([shares, groups.mean()], axis=1)


def main(num_storms=None, out=Path("out"), **options):
    frame = load_example("storms_atlantic")
    storms = dataset_from_frame(frame, channels=CHANNELS, freq="6h")[:num_storms]
    *_, first, second = split_items(dataset_to_array(storms), 0.5, seed=0)
    train, held_out = [storms[k] for k in first], [storms[k] for k in second]
    generator = DualKLEstimator(freq="6h", num_folds=2, **options).train(train)
    entries = list(generator.generate(len(held_out), seed=1))
    real, drawn = dataset_to_array(held_out), dataset_to_array(entries)
    table = pd.DataFrame({**with_interval(real), "synthetic": extremes(drawn)})
    off = (table["synthetic"] < table["5 %"]) | (table["synthetic"] > table["95 %"])
    print(f"{len(train)} storms to train, {len(held_out)} held out, as many drawn")
    print(table.round(1).to_string())
    print("Outside the interval:", "; ".join(table.index[off]) or "none")
    seasons = {"held out": by_season(held_out), "synthetic": by_season(entries)}
    print(f"\n{pd.concat(seasons, axis=1).round(1).to_string()}\n")
    scores = evaluate_generator(train, held_out, entries, packs=["environment"])
    print(scores[["metric", "value", "floor", "verdict"]].round(3).to_string())
    out.mkdir(parents=True, exist_ok=True)
    draw_lines(real, drawn, CHANNELS, "6h").savefig(out / "environment.png")
    return table, seasons, scores


if __name__ == "__main__":
    main()
