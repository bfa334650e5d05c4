"""Each picture says what it shows, in nats, on the Axes it is given."""

import io
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from gluonts_dualkl.analysis.cuts import CutNode
from gluonts_dualkl.analysis.explanation import ChannelDependency
from gluonts_dualkl.analysis.localised import LocalDivergences
from gluonts_dualkl.plotting.explanation_plots import (
    plot_attribution,
    plot_channel_dependency,
    plot_cut_tree,
    plot_local_divergences,
    plot_nearest_real,
    plot_scales,
)
from gluonts_dualkl.plotting.plot_style import new_figure

NAMES = ["wind (kn)", "pressure (hPa)"]


@pytest.fixture(autouse=True)
def untouched():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def local():
    x = np.linspace(0, 10, 11)
    y = np.where(np.abs(x - 5) < 1.5, 0.5, 0.0)
    return LocalDivergences(x, y, np.full(11, 0.05), 0.2, 20)


@pytest.fixture
def tree():
    def leaf(low, high, first, count):
        members = np.arange(first, first + count)
        return CutNode(members, low, high, np.nan, np.nan, 0.9)

    halves = leaf(0.0, 4.0, 0, 30), leaf(6.0, 10.0, 30, 20)
    return CutNode(np.arange(50), 0.0, 10.0, 7.5, 3.0, 1.0, halves)


def rendered(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=40)
    return buffer.getvalue().startswith(b"\x89PNG")


def texts(ax):
    return " ".join(text.get_text() for text in ax.texts)


def test_scales_are_bars_in_order():
    figure, axes = new_figure()
    law = {1: 2.0, 2: 5.0, 4: -1.0, 6: 0.5}
    ax = plot_scales(axes[0, 0], law, title="Time scales")
    assert [bar.get_width() for bar in ax.patches] == list(law.values())
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[0].startswith("between channels")
    assert names[1:3] == ["1 step with the next 1", "2 steps with the next 2"]
    assert "6 steps" in names[3]
    assert "nats" in ax.get_xlabel()
    assert "5.0" in texts(ax)
    low, high = ax.get_ylim()
    assert low > high  # the shortest scale on top
    assert rendered(figure)


def test_scales_of_a_series_stand_beside_the_law():
    figure, axes = new_figure()
    ax = plot_scales(axes[0, 0], {1: 2.0, 2: 5.0}, {1: -3.0, 2: 9.0})
    assert [bar.get_width() for bar in ax.patches] == [2.0, 5.0, -3.0, 9.0]
    assert "this series" in [t.get_text() for t in ax.get_legend().get_texts()]
    assert rendered(figure)
    with pytest.raises(ValueError, match=r"law has the scales \[1\] and series \[2\]"):
        plot_scales(axes[0, 0], {1: 2.0}, {2: 1.0})


def test_channel_map_sets_the_diagonal_apart():
    figure, axes = new_figure()
    pairs = np.array([[0.0, 1.25], [1.25, 0.0]])
    dependency = ChannelDependency(np.array([4.5, 30.0]), pairs, 1.25)
    ax = plot_channel_dependency(axes[0, 0], dependency, channel_names=NAMES)
    assert sorted(t.get_text() for t in ax.texts) == ["1.25", "1.25", "30", "4.50"]
    assert ax.images[0].get_array().mask.tolist() == [[True, False], [False, True]]
    assert [label.get_text() for label in ax.get_yticklabels()] == NAMES
    assert "nats" in figure.axes[1].get_ylabel()
    assert rendered(figure)


def test_channel_map_of_independent_and_of_many_channels():
    figure, axes = new_figure(1, 2)
    for ax, channels in zip(axes[0], (1, 12), strict=True):
        zero = ChannelDependency(np.ones(channels), np.zeros((channels,) * 2), 0.0)
        plot_channel_dependency(ax, zero)
    assert not axes[0, 1].texts
    assert rendered(figure)


def test_attribution_shades_curves_and_image_alike(rng):
    figure, axes = new_figure(3, 1)
    series, nats = rng.normal(size=(2, 12, 2))
    plot_attribution(axes[:, 0], series, nats, channel_names=NAMES, freq="6h")
    *panels, image = axes[:, 0]
    for c, ax in enumerate(panels):
        np.testing.assert_allclose(ax.lines[0].get_ydata(), series[:, c])
        np.testing.assert_allclose(ax.collections[0].get_array(), nats[:, c])
        assert ax.get_ylabel() == NAMES[c]
        assert ax.collections[0].get_clim() == image.images[0].get_clim()
    np.testing.assert_allclose(image.images[0].get_array(), nats.T)
    low, high = image.images[0].get_clim()
    assert low == -high
    assert "6h" in image.get_xlabel()
    assert "nats" in figure.axes[-1].get_ylabel()
    assert rendered(figure)


def test_nearest_real_series_lie_under_the_synthetic_one(rng):
    figure, axes = new_figure(1, 2)
    series, real = rng.normal(size=(12, 2)), rng.normal(size=(3, 12, 2))
    plot_nearest_real(
        axes[0], series, real, names=["Ada", "Bob", "Cleo"], channel_names=NAMES
    )
    for c, ax in enumerate(axes[0]):
        np.testing.assert_allclose(ax.lines[-1].get_ydata(), series[:, c])
        np.testing.assert_allclose(ax.lines[-2].get_ydata(), real[0, :, c])
    shown = [text.get_text() for text in axes[0, 0].get_legend().get_texts()]
    assert shown == ["synthetic", "Ada", "Bob", "Cleo"]
    assert rendered(figure)


def test_local_divergences_show_threshold_and_cuts(local):
    figure, axes = new_figure(1, 2)
    ax = plot_local_divergences(axes[0, 0], local, [4.5])
    assert "cut 1" in texts(ax)
    assert "believed" in texts(ax)
    assert "20 series" in ax.get_ylabel()
    assert "nats" in ax.get_ylabel()
    dark = ax.lines[1].get_ydata()
    assert np.isfinite(dark).tolist() == local.believed.tolist()
    high = replace(local, threshold=0.9)
    ax = plot_local_divergences(axes[0, 1], high)
    assert ax.get_ylim()[1] > 0.9
    bare = plot_local_divergences(axes[0, 1], replace(local, threshold=np.inf))
    assert np.isfinite(bare.get_ylim()).all()
    assert rendered(figure)


def test_tree_shows_sizes_gains_and_stability(tree):
    figure, axes = new_figure(1, 2)
    ax = plot_cut_tree(axes[0, 0], tree)
    assert "50 series, stability 1.00" in texts(ax)
    assert "30 series" in texts(ax)
    assert "gain 7.5 nats" in texts(ax)
    spans = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    assert spans == [(0.0, 10.0), (0.0, 4.0), (6.0, 4.0)]
    joints = [line.get_xdata()[0] for line in ax.lines]
    assert joints == [5.0]
    colours = {bar.get_facecolor() for bar in ax.patches}
    assert len(colours) == 3
    lone = replace(tree, children=(), gain=1.0)
    ax = plot_cut_tree(axes[0, 1], lone)
    assert "one cluster of 50 series" in texts(ax)
    assert "gain 1.0 nats of 3.0 needed" in texts(ax)
    assert rendered(figure)


def test_bad_arguments(rng):
    _, axes = new_figure(1, 3)
    series = rng.normal(size=(12, 2))
    with pytest.raises(ValueError, match="give both for one series"):
        plot_attribution(axes[0], series, series[1:])
    with pytest.raises(ValueError, match="one Axes a channel, 2, got 1"):
        plot_attribution(axes[0, :2], series, series)
    with pytest.raises(ValueError, match=r"\(k, T, C\)"):
        plot_nearest_real(axes[0], series, series)
    with pytest.raises(ValueError, match="names has 2 names for 1 real"):
        plot_nearest_real(axes[0], series, series[None], names=NAMES)
    with pytest.raises(ValueError, match="law has the scales"):
        plot_scales(axes[0, 0], {})
