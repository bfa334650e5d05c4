"""Bring your own CSV: read, train, draw, save, and compare support and types."""

from pathlib import Path

import numpy as np
import pandas as pd

from gluonts_dualkl import DualKLEstimator, dataset_to_frame
from gluonts_dualkl.data.files import read_dataset, write_dataset


def write_csv(path, num_stations=60, num_hours=24, seed=0):
    """A table as you may have it: stations by the hour, with holes."""
    rng = np.random.default_rng(seed)
    shape = (num_stations, num_hours)
    noise = rng.standard_normal((3, *shape)).cumsum(2) / 3
    day = np.sin(2 * np.pi * (np.arange(num_hours) - 9) / 24)
    level = rng.normal(12, 4, (num_stations, 1))
    temperature = level + 5 * day + noise[0]
    rain = np.maximum(1.5 * noise[1] - 1, 0)
    humidity = 75 - 3 * (temperature - 12) + 12 * rain + 4 * noise[2]
    hours = pd.date_range("2024-05-01", periods=num_hours, freq="h")
    columns = {
        "item_id": np.repeat([f"station{k}" for k in range(num_stations)], num_hours),
        "timestamp": np.tile(hours, num_stations),
        "temperature": (2 * temperature).round().ravel() / 2,  # steps of 0.5
        "humidity": humidity.clip(0, 100).round().ravel(),  # per cent
        "rain": rain.round(1).ravel(),  # mm, mostly 0
    }
    frame = pd.DataFrame(columns)
    frame.loc[rng.random(len(frame)) < 0.03, "temperature"] = np.nan
    frame.loc[100:106, "humidity"] = np.nan  # a sensor out of order
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)


def on_grid(column, step):
    """Whether all values are multiples of ``step``."""
    steps = column.dropna().to_numpy(float) / step
    return bool(np.allclose(steps, steps.round(), atol=1e-3))


def facts(frame):
    """Support and type of each channel, and how much is missing or exactly zero."""
    channels = frame[["temperature", "humidity", "rain"]]
    steps = {"temperature": 0.5, "humidity": 1, "rain": 0.1}
    columns = {
        "lowest": channels.min(),
        "highest": channels.max(),
        "zero, %": 100 * (channels == 0).mean(),
        "missing, %": 100 * channels.isna().mean(),
        "multiples of": pd.Series(steps),
        "holds": pd.Series({c: on_grid(channels[c], s) for c, s in steps.items()}),
    }
    return pd.DataFrame(columns).round(1)


def main(num_stations=60, num_series=200, out=Path("out/own-csv"), **options):
    write_csv(out / "mine.csv", num_stations)
    entries, channels = read_dataset(out / "mine.csv")
    print(f"{len(entries)} series from {entries[0]['start']}, channels {channels}")
    generator = DualKLEstimator(num_folds=2, **options).train(entries)
    drawn = list(generator.generate(num_series, seed=1))
    back = {}
    for name in ("synthetic.csv", "synthetic.parquet"):
        write_dataset(drawn, out / name, channels=channels, force=True)
        back[name], names = read_dataset(out / name)
        same = dataset_to_frame(back[name]).equals(dataset_to_frame(drawn))
        print(f"{out / name}: {len(back[name])} series, read back equal: {same}")
        assert same and names == channels
    tables = [dataset_to_frame(x, channels) for x in (entries, back["synthetic.csv"])]
    print(f"\nMine\n{facts(tables[0])}\n\nSynthetic\n{facts(tables[1])}")
    print("Holes were drawn; generate(..., with_missing=True) leaves them.")
    return tables


if __name__ == "__main__":
    main()
