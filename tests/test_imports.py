"""Modules import downwards only, and heavy libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gluonts_dualkl"
NAME = PACKAGE.name

LEVELS = [
    {
        "types",
        "data.frequencies",
        "data.destinations",
        "threads",
        "data.entries",
        "data.grids",
        "data.timestamps",
        "laws.donors",
        "laws.invariants",
        "laws.knots",
        "laws.localities",
        "laws.seasonality",
        "data.scaling",
        "walks.resampling",
        "analysis.modes",
    },
    {"data.features", "data.frames", "data.missing", "devices", "fabric"},
    {
        "data.series",
        "data.windows",
        "data.files",
        "data.gluonts_files",
        "data.tables",
        "laws.marginals",
        "laws.gaussian",
        "laws.statistics",
    },
    {
        "data.preparation",
        "data.conditions",
        "laws.imputation",
        "laws.stillness",
        "laws.elliptical",
        "critics.objectives",
        "laws.partitions",
        "analysis.group_divergence",
        "models.phases",
        "walks.copies",
        "walks.langevin",
    },
    {
        "laws.references",
        "critics.linear",
        "critics.networks",
        "walks.annealing",
        "walks.gradient_walk",
    },
    {"critics.training", "laws.potentials", "laws.recombination"},
    {"laws.noise"},
    {"walks.reverse_diffusion"},
    {"walks.samplers", "models.base"},
    {"models.boosting", "models.completion", "walks.balance", "walks.guards"},
    {"models.recombination", "models.partition", "models.noise"},
    {"analysis.divergence", "serialization"},
    {"analysis.cuts", "analysis.localised"},
    {"analysis.dual_space", "models.chaining", "request"},
    {"drawing"},
    {"generator"},
    {"analysis.attributions", "augmentation", "estimator", "plotting.plot_style"},
    {"analysis.explanation"},
    {"plotting.dual_plots", "plotting.explanation_plots"},
    {"plotting.plots"},
    {"plotting.explained"},
    {"plotting.pictures"},
    {"cli_common"},
    {"cli_evaluation", "cli_augment"},
    {"cli"},
]
LEVEL = {module: level for level, names in enumerate(LEVELS) for module in names}

# Library -> the modules that may import it at all.
CONFINED = {
    "matplotlib": {name for name in LEVEL if name.startswith("plotting.")},
    "lightning_fabric": {"fabric"},
    "lightning": set(),
    "gluonts.torch": set(),
    "gluonts_dualkl.evaluation": {"cli", "cli_evaluation", "cli_augment"},
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


def module_of(name):
    """The module of the package that a dotted name lies in, if any."""
    parts = name.split(".")[1:] if name.startswith(f"{NAME}.") else []
    inside = (".".join(parts[:k]) for k in (2, 1))
    return next((module for module in inside if module in LEVEL), None)


def violations(module, source):
    """What a module of the package imports against the rules, one sentence each."""
    if module not in LEVEL and not module.endswith(("__init__", "__main__")):
        return [f"{module}.py is unknown: add it to LEVELS in tests/test_imports.py"]
    tree = ast.parse(source)
    found = [
        f"{module}.py imports {library}, which is for {sorted(allowed) or 'nobody'}"
        for library, allowed in CONFINED.items()
        if module not in allowed
        and any(is_inside(n, library) for n, _ in imports(tree))
    ]
    for name, node in imports(tree):
        target = module_of(name)
        if is_inside(name, f"{NAME}.evaluation") and node in tree.body:
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


FILES = [*sorted(PACKAGE.glob("*.py")), *sorted(PACKAGE.glob("[a-z]*/*.py"))]
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in FILES
    if path.parent.name != "evaluation"
}


@pytest.mark.parametrize("module", MODULES)
def test_imports(module):
    assert violations(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("types", "from gluonts_dualkl.cli import main", "upwards: cli"),
        ("types", "from .data.windows import Windows", "upwards: data.windows"),
        (
            "types",
            "def f():\n    from gluonts_dualkl.data import windows",
            "upwards: data.windows",
        ),
        ("__init__", "import gluonts_dualkl.cli", "upwards: cli"),
        ("cli", "import gluonts_dualkl.evaluation", "evaluation when it is loaded"),
        (
            "generator",
            "def f():\n    from gluonts_dualkl.evaluation import metrics",
            "imports gluonts_dualkl.evaluation, which is for ['cli', ",
        ),
        ("critics.linear", "import matplotlib.pyplot as plt", "imports matplotlib"),
        (
            "critics.linear",
            "from lightning_fabric import Fabric",
            "imports lightning_fabric",
        ),
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
        ("data.windows", "from gluonts_dualkl.types import DataEntry"),
        ("__init__", "from gluonts_dualkl.estimator import DualKLEstimator"),
    ],
)
def test_allowed_imports_pass(module, source):
    assert violations(module, source) == []
