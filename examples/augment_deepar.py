"""Train a DeepAR on few real storms, with and without synthetic ones beside them.

One gradient budget, three training sets: few real storms; these and synthetic ones;
these and further real ones, the most to be hoped for. Wind is forecast 36 hours ahead.
``gluonts_dualkl.evaluation.choose_ratio`` decides such things on validation data.
"""

import logging
import tempfile
import warnings

import numpy as np
import pandas as pd
import torch
from gluonts.dataset.split import split
from gluonts.ev.metrics import MeanWeightedSumQuantileLoss
from gluonts.model import evaluate_model
from gluonts.torch import DeepAREstimator

from gluonts_dualkl import DualKLEstimator, augment, dataset_from_frame
from gluonts_dualkl.evaluation import load_example

HORIZON = 6
MODEL = {"freq": "6h", "prediction_length": HORIZON, "context_length": 12}
MODEL |= {"lags_seq": [1, 2, 3], "time_features": [], "hidden_size": 24}
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
QUIET |= {"accelerator": "cpu"}


def only_wind(entries):
    return [{**entry, "target": entry["target"][2]} for entry in entries]


def loss(data, validation, held_out, seed, num_epochs, num_batches):
    """Weighted quantile loss of a small DeepAR; as many gradient steps for all data."""
    np.random.seed(seed)  # noqa: NPY002  GluonTS samples windows from this state
    torch.manual_seed(seed)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = {"max_epochs": num_epochs, "default_root_dir": folder, **QUIET}
        settings = {"num_batches_per_epoch": num_batches, "trainer_kwargs": trainer}
        deepar = DeepAREstimator(**MODEL, **settings).train(data, validation)
        instances = split(held_out, offset=-HORIZON)[1].generate_instances(HORIZON)
        metrics = [MeanWeightedSumQuantileLoss([k / 10 for k in range(1, 10)])]
        return evaluate_model(deepar, test_data=instances, metrics=metrics).iloc[0, 0]


def main(num_train=50, seeds=(0, 1, 2), num_epochs=5, num_batches=30, **options):
    storms = dataset_from_frame(load_example("storms_atlantic"), freq="6h")
    storms = [storms[k] for k in np.random.default_rng(0).permutation(len(storms))]
    real, fresh = storms[:num_train], storms[num_train : 2 * num_train]
    validation = only_wind(storms[2 * num_train : 3 * num_train])
    held_out = only_wind(storms[3 * num_train :])
    generator = DualKLEstimator(freq="6h", num_folds=2, **options).train(real)
    synthetic = list(generator.generate(num_train, seed=1))
    arms = {"real": [], "real + synthetic": synthetic, "real + fresh real": fresh}
    rows = {}
    for name, more in arms.items():
        ratio = float(bool(more))  # further windows per real one
        data = augment(only_wind(real), only_wind(more), ratio, 0, HORIZON)
        sets = (data, validation, held_out)
        rows[name] = [loss(*sets, seed, num_epochs, num_batches) for seed in seeds]
    table = pd.DataFrame(rows, [f"seed {seed}" for seed in seeds]).T
    change = 100 * np.expm1(np.log(table / table.loc["real"]).mean(axis=1))
    print(f"Weighted quantile loss of wind, {len(held_out)} held-out storms, from")
    print(f"{num_train} real storms and {num_epochs * num_batches} gradient steps:")
    print(table.assign(**{"change, %": change}).round(3).to_string())
    print(f"Only {len(seeds)} seeds: a few per cent either way may be chance.")
    return table


if __name__ == "__main__":
    main()
