"""Each function draws and labels the Axes it is given, and touches nothing else."""

import io
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from gluonts_dualkl.plotting import pictures, plots
from gluonts_dualkl.types import Cluster, Divergence, DualSpace, Walk

NAMES = ["wind (kn)", "pressure (hPa)"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def real(rng):
    return rng.normal(size=(20, 12, 2)).cumsum(1)


@pytest.fixture
def space(rng):
    levels = np.sort(np.concatenate([rng.normal(5, 1, 12), rng.normal(15, 1, 8)]))
    edges = np.histogram_bin_edges(levels, 8)
    clusters = (
        Cluster(np.arange(12), levels[0], levels[11], 0.9),
        Cluster(np.arange(12, 20), levels[12], levels[-1], 0.8),
    )
    gaps = ((float(levels[11]), float(levels[12])),)
    occupied = np.histogram(levels, edges)[0] > 0
    return DualSpace(levels, (4.0, 16.0), clusters, gaps, edges, occupied)


@pytest.fixture
def walk(real):
    return Walk(real[:5], np.arange(5.0), np.array([0, 3, 4, 9, 11]), np.zeros((5, 12)))


@pytest.fixture
def divergence():
    legs = {"Gaussian": 8.0, "statistics": 3.0, "last": -1.0}
    return Divergence(10.0, 8.5, 11.5, 0.9, legs, 12.0, 20, 10.1)


@pytest.fixture(autouse=True)
def untouched():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    assert (
        "matplotlib.pyplot" not in sys.modules
        or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def rendered(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=40)
    return buffer.getvalue().startswith(b"\x89PNG")


def texts(ax):
    return " ".join(text.get_text() for text in ax.texts)


def test_new_figure_has_bare_axes():
    figure, axes = plots.new_figure(2, 3, width=6, height=4)
    assert axes.shape == (2, 3)
    assert tuple(figure.get_size_inches()) == (6, 4)
    assert not axes[0, 0].has_data()


def test_series_are_lines_by_channel(real):
    figure, axes = plots.new_figure(1, 2)
    drawn = plots.plot_series(
        axes[0], real, channel_names=NAMES, freq="6h", num_series=7, label="real"
    )
    assert drawn is axes[0] or list(drawn) == list(axes[0])
    assert [len(ax.lines) for ax in axes[0]] == [7, 7]
    assert [ax.get_ylabel() for ax in axes[0]] == NAMES
    assert all("6h" in ax.get_xlabel() for ax in axes[0])
    np.testing.assert_allclose(axes[0, 1].lines[0].get_ydata(), real[0, :, 1])
    assert rendered(figure)


def test_images_show_standardised_values(real):
    figure, axes = plots.new_figure()
    ax = plots.plot_images(
        axes[0, 0], real, channel_names=NAMES, rows=2, columns=3, colorbar=True
    )
    image = ax.images[0].get_array()
    assert image.shape == (2 * 3 - 1, 3 * 13 - 1)
    expected = (real - real.mean((0, 1))) / real.std((0, 1))
    np.testing.assert_allclose(image[:2, :12], expected[0].T)
    np.testing.assert_allclose(image[3:5, 13:25], expected[4].T)
    assert image.mask[2].all()
    assert [label.get_text() for label in ax.get_yticklabels()] == NAMES
    assert "standard deviations" in figure.axes[1].get_ylabel()
    assert rendered(figure)


def test_images_take_one_series_and_constant_channels():
    figure, axes = plots.new_figure()
    plots.plot_images(axes[0, 0], np.ones((1, 5, 12)))
    assert axes[0, 0].get_yticklabels()[0].get_text() == "12 channels"
    assert rendered(figure)


def test_dual_space_names_clusters_band_and_units(space, rng):
    figure, axes = plots.new_figure()
    ax = plots.plot_dual_space(axes[0, 0], space, rng.normal(10, 5, 30))
    assert ax is axes[0, 0]
    assert "nats" in ax.get_xlabel()
    assert "%" in ax.get_ylabel()
    words = texts(ax)
    for part in ("12 series", "8 series", "0.90", "0.80", "4.0 to 16.0", "synthetic"):
        assert part in words
    assert sum(bar.get_height() for bars in ax.containers for bar in bars) == 100.0
    assert rendered(figure)


def test_dual_space_without_cut_or_synthetic(space):
    whole = Cluster(np.arange(20), space.levels[0], space.levels[-1], 1.0)
    one = DualSpace(
        space.levels, space.band, (whole,), (), space.bin_edges, space.occupied
    )
    figure, axes = plots.new_figure()
    plots.plot_dual_space(axes[0, 0], one)
    assert "no cut is supported" in texts(axes[0, 0])
    assert "synthetic" not in texts(axes[0, 0])
    assert rendered(figure)


def test_dual_space_with_far_or_equal_levels(space):
    figure, axes = plots.new_figure(1, 2)
    plots.plot_dual_space(axes[0, 0], space, np.array([1e9, 5.0, -np.inf]))
    assert axes[0, 0].get_xlim()[1] < 100
    assert "synthetic (2 off scale)" in texts(axes[0, 0])
    equal = np.full(4, 3.0)
    whole = Cluster(np.arange(4), 3.0, 3.0, 1.0)
    flat = DualSpace(equal, (3.0, 3.0), (whole,), (), np.array([3.0, 3.0]), equal > 0)
    plots.plot_dual_space(axes[0, 1], flat)
    assert rendered(figure)


def test_walk_runs_from_light_to_dark(walk):
    figure, axes = plots.new_figure(1, 3)
    plots.plot_walk(
        list(axes[0]), walk, channel_names=NAMES, freq="6h", band=(1.0, 3.0)
    )
    lines = axes[0, 0].lines
    assert len(lines) == 5
    brightness = [np.mean(line.get_color()[:3]) for line in lines]
    assert brightness == sorted(brightness, reverse=True)
    np.testing.assert_allclose(axes[0, 2].lines[0].get_xdata(), walk.steps)
    assert "nats" in axes[0, 2].get_ylabel()
    assert axes[0, 2].get_xlabel() == "move number"
    assert rendered(figure)


def test_divergence_adds_up(divergence):
    figure, axes = plots.new_figure()
    ax = plots.plot_divergence(axes[0, 0], divergence)
    left, width = zip(*((p.get_x(), p.get_width()) for p in ax.patches), strict=True)
    assert width == pytest.approx((8.0, 3.0, -1.0, 10.0))
    assert left == pytest.approx((0.0, 8.0, 11.0, 0.0))
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [*divergence.per_leg, "total"]
    assert "[8.5, 11.5]" in texts(ax)
    assert "ceiling 12.0" in texts(ax)
    assert "nats" in ax.get_xlabel()
    assert rendered(figure)


def test_divergence_without_ceiling(divergence):
    figure, axes = plots.new_figure()
    bare = replace(divergence, ceiling=np.inf)
    assert "ceiling" not in texts(plots.plot_divergence(axes[0, 0], bare))
    assert rendered(figure)


def test_marginals_and_autocorrelation_show_both(real, rng):
    figure, axes = plots.new_figure(2, 2)
    plots.plot_marginals(axes[0], real, real + 1.0, channel_names=NAMES)
    plots.plot_autocorrelation(axes[1], real, -real, channel_names=NAMES, freq="6h")
    assert [ax.get_xlabel() for ax in axes[0]] == NAMES
    assert axes[0, 0].get_ylabel() == "share of values (%)"
    assert "6h" in axes[1, 0].get_xlabel()
    for ax in axes[:, 0]:
        names = [text.get_text() for text in ax.get_legend().get_texts()]
        assert names == ["real", "synthetic"]
    assert axes[1, 0].lines[0].get_ydata()[0] == pytest.approx(1.0)
    assert rendered(figure)


@pytest.mark.parametrize("values", [np.zeros((3, 4)), np.zeros((0, 4, 2))])
def test_values_must_be_series(values):
    _, axes = plots.new_figure(1, 2)
    with pytest.raises(ValueError, match="N, T, C"):
        plots.plot_series(axes[0], values)


def test_axes_and_names_must_fit_the_channels(real):
    _, axes = plots.new_figure(1, 3)
    with pytest.raises(ValueError, match="one Axes a channel, 2, got 3"):
        plots.plot_series(axes[0], real)
    with pytest.raises(ValueError, match="channel_names must hold 2 names, got 1"):
        plots.plot_series(axes[0, :2], real, channel_names=["wind"])


@pytest.mark.parametrize("channels", [1, 3, 6, 9])
def test_pictures_arrange_any_number_of_channels(channels, rng):
    real = rng.normal(size=(6, 10, channels))
    shown = min(channels, pictures.MAX_CHANNELS)
    walk = Walk(real[:3], np.arange(3.0), np.arange(3), np.zeros((3, 10)))
    for figure, panels in (
        (pictures.draw_lines(real, real), 2 * shown),
        (pictures.draw_statistics(real, real), 2 * shown),
        (pictures.draw_walk(walk), shown + 1),
    ):
        visible = [ax for ax in figure.axes if ax.get_visible()]
        assert len(visible) == panels
        assert all(ax.has_data() for ax in visible)


def test_lines_share_the_scale_of_a_channel(real):
    figure = pictures.draw_lines(real, 3 * real, NAMES)
    above, _, below, _ = figure.axes
    assert above.get_ylim() == below.get_ylim()
