from gluonts_dualkl import (
    DualKLEstimator,
    DualKLGenerator,
    augment,
    dataset_from_frame,
    explain,
)
from gluonts_dualkl.evaluation import load_example

storms = dataset_from_frame(load_example("storms_atlantic"), freq="6h")

estimator = DualKLEstimator(freq="6h", length=24, seed=0)
generator = estimator.train(storms)

entries = list(generator.generate(num_series=500, seed=1))  # GluonTS entries
array = generator.sample(num_samples=500, seed=1)  # (500, 24, 4), original units

print(generator.divergence())  # nats of dependency, with interval and by leg
print(generator.dual_space().clusters)  # groups of training series
levels = generator.log_ratio(storms)  # log p(x)/q(x) of every series, nats

told = explain(generator, array[:2])  # nats by leg, scale and pixel; nearest real
larger = augment(storms, entries, ratio=1.0)  # trains any GluonTS estimator

generator.serialize("out/python-model", force=True)
generator = DualKLGenerator.deserialize("out/python-model")
