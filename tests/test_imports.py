"""Modules import downwards only, and heavy libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gluonts_dualkl"
NAME = PACKAGE.name

LEVELS = [
    {
        "types",
        "frequencies",
        "destinations",
        "threads",
        "missing",
        "resampling",
        "modes",
    },
    {"frames"},
    {"windows", "files", "marginals", "gaussian", "statistics"},
    {"objectives", "partitions", "group_divergence", "walks"},
    {"references", "critics", "networks", "annealing", "gradient_walk"},
    {"training", "potentials"},
    {"noise"},
    {"reverse_diffusion"},
    {"samplers", "path_model"},
    {"paths", "guards"},
    {"model", "critic_model", "noise_model"},
    {"divergence", "serialization"},
    {"cuts", "localised"},
    {"dual_space"},
    {"generator"},
    {"attributions", "augmentation", "estimator", "plot_style"},
    {"explanation"},
    {"dual_plots", "explanation_plots"},
    {"plots"},
    {"pictures"},
    {"cli_common"},
    {"cli_evaluation"},
    {"cli"},
]
LEVEL = {module: level for level, names in enumerate(LEVELS) for module in names}

# Library -> the modules that may import it at all.
CONFINED = {
    "matplotlib": {
        "plots",
        "dual_plots",
        "explanation_plots",
        "plot_style",
        "pictures",
    },
    "lightning_fabric": set(),
    "lightning": set(),
    "gluonts.torch": set(),
    "gluonts_dualkl.evaluation": {"cli", "cli_evaluation"},
}


def imported_names(tree):
    """Absolute dotted names that a tree imports, as ``(name, node)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = NAME if node.level else ""
            base = ".".join(filter(None, [base, node.module]))
            yield from ((f"{base}.{alias.name}", node) for alias in node.names)


def is_inside(name, library):
    return name == library or name.startswith(f"{library}.")


def violations(module, source):
    """What a module of the package imports against the rules, one sentence each."""
    if module not in LEVEL and module not in ("__init__", "__main__"):
        return [f"{module}.py is unknown: add it to LEVELS in tests/test_imports.py"]
    tree = ast.parse(source)
    found = [
        f"{module}.py imports {library}, which is for {sorted(allowed) or 'nobody'}"
        for library, allowed in CONFINED.items()
        if module not in allowed
        and any(is_inside(n, library) for n, _ in imports(tree))
    ]
    for name, node in imports(tree):
        target = name.split(".")[1] if name.startswith(f"{NAME}.") else None
        if target == "evaluation" and node in tree.body:
            found.append(f"{module}.py imports evaluation when it is loaded")
        if target in LEVEL and LEVEL[target] > level_of(module):
            found.append(f"{module}.py imports upwards: {target}.py")
    return found


def imports(tree):
    return list(imported_names(tree))


def level_of(module):
    """Rank; ``__init__`` re-exports everything below the command line."""
    if module in LEVEL:
        return LEVEL[module]
    return LEVEL["cli"] - (module == "__init__")


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.stem)
def test_imports(path):
    assert violations(path.stem, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("types", "from gluonts_dualkl.cli import main", "upwards: cli"),
        ("types", "from .windows import Windows", "upwards: windows"),
        (
            "types",
            "def f():\n    from gluonts_dualkl import windows",
            "upwards: windows",
        ),
        ("__init__", "import gluonts_dualkl.cli", "upwards: cli"),
        ("cli", "import gluonts_dualkl.evaluation", "evaluation when it is loaded"),
        (
            "generator",
            "def f():\n    from gluonts_dualkl.evaluation import metrics",
            "imports gluonts_dualkl.evaluation, which is for ['cli', ",
        ),
        ("critics", "import matplotlib.pyplot as plt", "imports matplotlib"),
        ("critics", "from lightning_fabric import Fabric", "imports lightning_fabric"),
        ("cli", "from gluonts.torch import DeepAREstimator", "imports gluonts.torch"),
        ("novelty", "", "novelty.py is unknown: add it to LEVELS"),
    ],
)
def test_violations_are_seen(module, source, message):
    assert any(message in sentence for sentence in violations(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cli", "def f():\n    from gluonts_dualkl.evaluation import metrics"),
        ("windows", "from gluonts_dualkl.types import DataEntry"),
        ("__init__", "from gluonts_dualkl.estimator import DualKLEstimator"),
    ],
)
def test_allowed_imports_pass(module, source):
    assert violations(module, source) == []
