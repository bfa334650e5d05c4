"""Daily returns of six euro exchange rates: learn, draw, and check stylised facts.

Windows are split at random, so that train and held-out share calm and wild years.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kurtosis

from gluonts_dualkl import DualKLEstimator, dataset_from_array
from gluonts_dualkl.evaluation import evaluate_generator, load_example, split_items
from gluonts_dualkl.evaluation.baselines import BASELINES
from gluonts_dualkl.evaluation.metrics.finance import hill_tail_index
from gluonts_dualkl.plotting.pictures import draw_lines


def load_returns(length):
    """Log-returns in per cent, ``(n, length, 6)``, their first days, and the rates."""
    rates = load_example("fx_ecb").drop(columns="item_id").set_index("timestamp")
    returns = 100 * np.log(rates).diff().iloc[1:]
    used = len(returns) // length * length
    windows = returns.to_numpy()[:used].reshape(-1, length, rates.shape[1])
    return windows, returns.index[:used:length], rates


def to_prices(returns, first):
    """Rates ``(n, T + 1, C)`` that start at ``first`` and have these log-returns."""
    return first * np.exp(np.pad(returns / 100, ((0, 0), (1, 0), (0, 0))).cumsum(1))


def autocorrelation(x, lags):
    """Mean over lags, pooled over windows, by currency, ``(C,)``."""
    x = x - x.mean((0, 1))
    products = [(x[:, lag:] * x[:, :-lag]).mean((0, 1)) for lag in lags]
    return np.mean(products, axis=0) / (x**2).mean((0, 1))


def stylised_facts(x):
    """What Cont (2001) looks for, as medians over currencies, or over pairs of them."""
    flat = (x - x.mean((0, 1))).reshape(-1, x.shape[2])
    pairs = np.triu_indices(x.shape[2], 1)
    facts = {
        "volatility, % a day": flat.std(0),
        "excess kurtosis": kurtosis(flat),
        "tail index, low is heavy": [hill_tail_index(column) for column in flat.T],
        "autocorrelation of returns, lag 1": autocorrelation(x, [1]),
        "of squared returns, lags 1 to 5": autocorrelation(x**2, range(1, 6)),
        "correlation of currencies": np.corrcoef(flat.T)[pairs],
    }
    return {name: np.median(values) for name, values in facts.items()}


def main(num_windows=None, length=24, out=Path("out"), **options):
    windows, starts, rates = load_returns(length)
    train, held_out, index, _ = split_items(windows[:num_windows], 0.5, seed=0)
    data = dataset_from_array(train, freq="B", start=list(starts[index]))
    generator = DualKLEstimator(freq="B", num_folds=2, **options).train(data)
    synthetic = generator.sample(len(held_out), seed=1).astype(float)
    sets = {"train": train, "held out": held_out, "synthetic": synthetic}
    sets["Gaussian"] = BASELINES["shrunk_gaussian"]().fit(train).sample(len(held_out))
    table = pd.DataFrame({name: stylised_facts(x) for name, x in sets.items()})
    print(f"{len(train)} windows of {length} days to train, {len(held_out)} held out")
    print(f"{table.round(2).to_string()}\n")
    scores = evaluate_generator(train, held_out, synthetic, packs=["finance"])
    print(scores[["metric", "value", "floor", "verdict"]].round(3).to_string())
    today = rates.iloc[-1].to_numpy()
    real, drawn = to_prices(held_out, today), to_prices(synthetic, today)
    print(f"\nSynthetic paths of {length} days from {rates.index[-1]:%d %B %Y} on")
    ends = {"lowest": drawn.min((0, 1)), "highest": drawn.max((0, 1))}
    print(pd.DataFrame(ends, rates.columns).round(3).T.to_string())
    out.mkdir(parents=True, exist_ok=True)
    draw_lines(real, drawn, list(rates), "B").savefig(out / "finance.png")
    return table, scores, drawn


if __name__ == "__main__":
    main()
