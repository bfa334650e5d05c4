"""A generator as a folder: JSON for what is read by people, tensors for the rest.

``gluonts-config.json`` names the versions and the type, ``generator.json`` the facts
and ``generator-state.pt`` the tensors, loaded with ``weights_only``: reading a folder
runs no code from it. Writing goes to a temporary sibling that is renamed when complete.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.data.frequencies import from_ordinals
from gluonts_dualkl.data.preparation import Preparation
from gluonts_dualkl.data.windows import Windows
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.models.base import PathModel
from gluonts_dualkl.models.noise import NoiseModel
from gluonts_dualkl.models.partition import CriticModel
from gluonts_dualkl.models.recombination import DualModel
from gluonts_dualkl.walks.copies import CopyLimits

__all__ = ["FORMAT_VERSION", "load_generator", "save_generator"]

FORMAT_VERSION = 9
CONFIG, FACTS, STATE = "gluonts-config.json", "generator.json", "generator-state.pt"
TYPE = "gluonts_dualkl.generator.DualKLGenerator"
MODELS: dict[str, type[PathModel]] = {
    model.kind: model for model in (DualModel, CriticModel, NoiseModel)
}


def save_generator(parts: dict[str, Any], path: Path, force: bool) -> None:
    """Write a generator, given as :func:`load_generator` returns it, to ``path``."""
    config = {
        "type": TYPE,
        "gluonts_dualkl": version("gluonts-dualkl"),
        "gluonts": version("gluonts"),
        "format": FORMAT_VERSION,
    }
    with atomic_path(path, force, marker=CONFIG) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
        facts = json.dumps(_facts(parts), indent=2)
        (folder / FACTS).write_text(facts, encoding="utf-8")
        torch.save(_state(parts), folder / STATE)


def load_generator(path: Path, device: torch.device) -> dict[str, Any]:
    """Constructor arguments of the generator in the folder ``path``."""
    _check_folder(path)
    try:
        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
        state = torch.load(path / STATE, map_location=device, weights_only=True)
        return _parts(facts, state, device)
    except FileNotFoundError as error:
        raise ValueError(
            f"the model folder {str(path)!r} is damaged: {Path(error.filename).name} "
            "is missing; train the model again."
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(_damaged(path, error)) from error
    except Exception as error:
        if type(error).__name__ != "UnpicklingError":
            raise
        raise ValueError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"the model folder {str(path)!r} is damaged and cannot be read "
        f"({detail}); train the model again."
    )


def _check_folder(path: Path) -> None:
    if not (path / CONFIG).is_file():
        raise FileNotFoundError(
            f"there is no model at {str(path)!r}: {CONFIG} is missing; give a folder "
            "that `serialize` or `gluonts-dualkl train` wrote."
        )
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        kind, number = config["type"], int(config["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(_damaged(path, error)) from error
    if kind != TYPE:
        raise ValueError(f"the folder {str(path)!r} holds a {kind}, not a {TYPE}.")
    if number != FORMAT_VERSION:
        older = number < FORMAT_VERSION
        raise ValueError(
            f"the model folder {str(path)!r} has format {number} and this version of "
            f"gluonts_dualkl reads format {FORMAT_VERSION}; "
            + ("train the model again." if older else "upgrade gluonts_dualkl.")
        )


def _facts(parts: dict[str, Any]) -> dict[str, Any]:
    windows: Windows = parts["windows"]
    model: PathModel = parts["model"]
    return {
        "freq": windows.freq,
        "univariate": windows.univariate,
        "channel_names": list(parts["channel_names"]),
        "num_steps": parts["num_steps"],
        "num_covariates": parts["num_covariates"],
        "scaling": parts["preparation"].scaling,
        "optimism": parts["optimism"],
        "starts": [period.ordinal for period in windows.starts],
        "item_ids": list(windows.item_ids),
        "path": model.kind,
        "copy_limits": model.copy_limits,
        "model": model.facts(),
    }


def _state(parts: dict[str, Any]) -> dict[str, Any]:
    windows: Windows = parts["windows"]
    model: PathModel = parts["model"]
    return _on_cpu(
        {
            "marginals": model.marginals.state(),
            "gaussian": model.gaussian.state(),
            "train": {"z": model.train},
            "model": model.tensors(),
            "values": {"values": windows.values},
            "static": windows.static,
            "dynamic": windows.dynamic,
            "preparation": parts["preparation"].state(),
            "held_out": parts["held_out"],
            "validation": parts["validation"] or {},
        }
    )


def _on_cpu(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _on_cpu(part) if isinstance(part, dict) else torch.as_tensor(part).cpu()
        for name, part in tree.items()
    }


def _numpy(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _parts(
    facts: dict[str, Any], state: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    freq = facts["freq"]
    windows = Windows(
        values=state["values"]["values"].cpu().numpy(),
        starts=from_ordinals(facts["starts"], freq),
        item_ids=tuple(facts["item_ids"]),
        freq=freq,
        static=_numpy(state["static"]),
        dynamic=_numpy(state["dynamic"]),
        univariate=facts["univariate"],
    )
    shared = {
        "marginals": MarginalMap(**state["marginals"]),
        "train": state["train"]["z"],
        "gaussian": CausalGaussian(**state["gaussian"]),
        "copy_limits": tuple(CopyLimits(*rule) for rule in facts["copy_limits"]),
    }
    model = MODELS[facts["path"]].restore(shared, facts["model"], state["model"])
    return {
        "model": model,
        "windows": windows,
        "preparation": Preparation(
            scaling=facts["scaling"], **_numpy(state["preparation"])
        ),
        "held_out": _numpy(state["held_out"]),
        "validation": _numpy(state["validation"]) or None,
        "channel_names": facts["channel_names"],
        "num_steps": facts["num_steps"],
        "num_covariates": facts["num_covariates"],
        "optimism": facts["optimism"],
    }
