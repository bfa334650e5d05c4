"""Generators to compare with: ``fit(windows)``, ``sample(n, seed)``, save and load.

A further one is a file with a subclass of :class:`Baseline` and a line in
:data:`BASELINES`.
"""

from __future__ import annotations

from gluonts_dualkl.evaluation.baselines.autoregressive import (
    VARResidualBootstrap,
    VARSimulation,
)
from gluonts_dualkl.evaluation.baselines.barycentre import DtwBarycentres
from gluonts_dualkl.evaluation.baselines.base import Baseline
from gluonts_dualkl.evaluation.baselines.bootstrap import (
    MovingBlocks,
    PhaseSurrogates,
    StationaryBlocks,
)
from gluonts_dualkl.evaluation.baselines.classical import (
    IndependentMarginals,
    Jitter,
    Mixup,
    Smote,
    TrainingCopies,
)
from gluonts_dualkl.evaluation.baselines.decomposition import StlBootstrap
from gluonts_dualkl.evaluation.baselines.diffusion import EDM
from gluonts_dualkl.evaluation.baselines.diffusion_ts import DiffusionTS
from gluonts_dualkl.evaluation.baselines.dualkl import DualKL
from gluonts_dualkl.evaluation.baselines.external import SdvPar, Tsgm
from gluonts_dualkl.evaluation.baselines.gan import RCGAN, DoppelGANger
from gluonts_dualkl.evaluation.baselines.gaussian import (
    GaussianCopula,
    PCAGaussian,
    ShrunkGaussian,
    TCopula,
)
from gluonts_dualkl.evaluation.baselines.kernel import (
    KernelDensityEstimate,
    SchroedingerBridge,
)
from gluonts_dualkl.evaluation.baselines.koopman_vae import KoopmanVAE
from gluonts_dualkl.evaluation.baselines.timegan import TimeGAN
from gluonts_dualkl.evaluation.baselines.tsdiff import TSDiff
from gluonts_dualkl.evaluation.baselines.vae import TimeVAE

__all__ = ["BASELINES", "Baseline", "baseline_class"]

BASELINES: dict[str, type[Baseline]] = {
    "dualkl": DualKL,
    "training_copies": TrainingCopies,
    "independent_marginals": IndependentMarginals,
    "shrunk_gaussian": ShrunkGaussian,
    "gaussian_copula": GaussianCopula,
    "t_copula": TCopula,
    "pca_gaussian": PCAGaussian,
    "var_simulation": VARSimulation,
    "var_bootstrap": VARResidualBootstrap,
    "moving_blocks": MovingBlocks,
    "stationary_blocks": StationaryBlocks,
    "phase_surrogates": PhaseSurrogates,
    "smote": Smote,
    "mixup": Mixup,
    "jitter": Jitter,
    "kernel_density": KernelDensityEstimate,
    "schroedinger_bridge": SchroedingerBridge,
    "stl_bootstrap": StlBootstrap,
    "dtw_barycentres": DtwBarycentres,
    "timegan": TimeGAN,
    "rcgan": RCGAN,
    "doppelganger": DoppelGANger,
    "timevae": TimeVAE,
    "koopman_vae": KoopmanVAE,
    "edm": EDM,
    "diffusion_ts": DiffusionTS,
    "tsdiff": TSDiff,
    "tsgm": Tsgm,
    "sdv_par": SdvPar,
}


def baseline_class(name: str) -> type[Baseline]:
    """Class of the generator ``name``; ``ValueError`` with the names otherwise."""
    if name not in BASELINES:
        raise ValueError(f"no generator {name!r}, choose from {', '.join(BASELINES)}")
    return BASELINES[name]
