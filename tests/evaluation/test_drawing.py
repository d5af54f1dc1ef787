import builtins

import numpy as np
import pytest
from PIL import Image

from efm_jax.evaluation import drawing


def test_grid_is_exact_to_the_pixel():
    x = np.stack([np.full((2, 3), v).ravel() for v in (-1.0, 0.0, 1.0)])
    got = drawing.grid(x, (2, 3), 2, border=1, background=200)
    want = np.full((2 * 3 + 1, 2 * 4 + 1), 200, np.uint8)
    want[1:3, 1:4], want[1:3, 5:8], want[4:6, 1:4] = (
        0,
        128,
        255,
    )  # round(255 * (0 + 1) / 2) = 128, half upwards
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, np.repeat(want[..., None], 3, axis=2))


def test_colors_are_laid_out_hwc_and_not_mixed():
    picture = np.full((2, 2, 3), -1.0)
    picture[0, 1] = [1.0, -1.0, 0.0]
    got = drawing.grid(picture.reshape(1, -1), (2, 2, 3), border=0)
    want = np.zeros((2, 2, 3), np.uint8)
    want[0, 1] = [255, 0, 128]
    np.testing.assert_array_equal(got, want)


def test_every_level_survives_the_round_trip():
    levels = np.arange(256)
    x = (levels / 127.5 - 1.0).astype(np.float32)
    assert drawing.grid(x[None], (1, 256), border=0)[0, :, 0].tolist() == levels.tolist()


def test_values_out_of_range_are_clipped_and_nan_is_background():
    got = drawing.grid(np.array([[-7.0, 7.0, np.nan, np.inf]]), (1, 4), border=0, background=99)
    assert got[0, :, 0].tolist() == [0, 255, 99, 99]


def test_zoom_repeats_pixels():
    x = np.random.default_rng(0).uniform(-1, 1, (5, 12))
    small, large = (drawing.grid(x, (2, 2, 3), 3, zoom=zoom) for zoom in (1, 4))
    np.testing.assert_array_equal(large[::4, ::4], small)
    np.testing.assert_array_equal(large[3::4, 3::4], small)
    assert large.shape == (4 * small.shape[0], 4 * small.shape[1], 3)


def test_pairs_stand_above_each_other_also_in_the_last_short_row():
    x = np.linspace(-1, 1, 5)[:, None]
    got = drawing.pairs_grid(x, -x, (1, 1), 3, border=0, background=7)[..., 0]
    assert got.tolist() == [[0, 64, 128], [255, 191, 128], [191, 255, 7], [64, 0, 7]]


@pytest.mark.parametrize("with_height", [False, True])
def test_strip_runs_in_time_across_and_drops_the_height(with_height):
    # sample n at time t has the one value level[t] + n/127.5, exactly representable levels
    t, n = 9, 2
    path = (np.arange(t)[:, None, None] * 10 + np.arange(n)[None, :, None]) / 127.5 - 1.0
    if with_height:
        path = np.concatenate([path, np.full((t, n, 1), 3.0)], axis=2)
    got = drawing.strip(path, (1, 1), 5, border=0)[..., 0]
    assert got.tolist() == [[0, 20, 40, 60, 80], [1, 21, 41, 61, 81]]
    assert drawing.strip(path, (1, 1), 50, border=0).shape == (n, t, 3)


def test_png_holds_the_array_and_replaces_only_as_a_whole(tmp_path, monkeypatch):
    array = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    file = tmp_path / "deep" / "a.png"
    drawing.save_png(file, array)
    np.testing.assert_array_equal(np.asarray(Image.open(file)), array)
    before = file.read_bytes()

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        drawing.save_png(file, array[::-1])
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == ["a.png"]


def lines_between(dim, n=60, t=20, gap=6.0):
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(n, dim)), 4.0 + rng.normal(size=(n, dim))
    s = np.linspace(0, 1, t)[:, None, None]
    lines = np.concatenate([start + s * (end - start), np.broadcast_to(gap * s, (t, n, 1))], axis=2)
    return lines, start, end


@pytest.mark.parametrize(("dim", "view"), [(1, "3d"), (2, "3d"), (2, "side")])
def test_lines_figure_draws_lines_in_a_small_file(tmp_path, dim, view):
    lines, start, end = lines_between(dim)
    with_lines, without = tmp_path / "a.png", tmp_path / "b.png"
    options = {"gap": 6.0, "view": view, "title": "test"}
    drawing.lines_figure(with_lines, lines, start, end, **options)
    drawing.lines_figure(without, lines, start, end, max_lines=0, **options)
    assert with_lines.stat().st_size < 200_000
    a, b = (np.asarray(Image.open(p).convert("L"), float) for p in (with_lines, without))
    assert a.shape == b.shape
    left = a.shape[1] // 2
    assert (a - b)[:, :left].min() < -50  # lines are dark on the left panel
    np.testing.assert_array_equal(a[:, left + 20 :], b[:, left + 20 :])  # and the map is untouched


def test_backward_lines_are_compared_with_the_source(tmp_path):
    lines, start, end = lines_between(2)
    forward, backward = tmp_path / "a.png", tmp_path / "b.png"
    drawing.lines_figure(forward, lines, start, end, gap=6.0)
    drawing.lines_figure(backward, lines[::-1], start, end, gap=6.0)
    a, b = (np.asarray(Image.open(p).convert("RGB"), int) for p in (forward, backward))
    left = a.shape[1] // 2
    np.testing.assert_array_equal(a[:, :left], b[:, :left])  # the same lines between the same plates

    def share(picture, channel):
        """Pixels of the map in which the channel (red = Q, blue = P) stands out."""
        others = [c for c in (0, 1, 2) if c != channel]
        return (picture[:, left:, channel] > picture[:, left:, others].max(axis=-1) + 30).mean()

    assert share(a, 0) > 0.0 == share(a, 2)
    assert share(b, 2) > 0.0 == share(b, 0)


def axes_of(monkeypatch, tmp_path, lines, start, end, **options):
    """The axes of a figure when it is saved: the lines, and the map."""
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig

    def kept(figure, *args, **more):
        figures.append(figure)
        return save(figure, *args, **more)

    monkeypatch.setattr(Figure, "savefig", kept)
    drawing.lines_figure(tmp_path / "a.png", lines, start, end, gap=6.0, **options)
    return figures[-1].axes


@pytest.mark.parametrize("view", ["3d", "side"])
def test_columns_of_other_scales_fill_their_axes_under_their_names(monkeypatch, tmp_path, view):
    scale, names = np.array([1.0, 1e4]), ("age", "price in $ or $$")
    lines, start, end = lines_between(2)
    lines[..., :2] *= scale
    pair = start * scale, end * scale
    left, right = axes_of(monkeypatch, tmp_path, lines, *pair, names=names, view=view)
    assert right.get_aspect() == "auto"
    both = np.concatenate(pair)
    for (low, high), column in zip((right.get_xlim(), right.get_ylim()), both.T, strict=True):
        assert low < column.min() < column.max() < high
        assert np.ptp(column) > 0.8 * (high - low)
    labels = [right.get_xlabel(), right.get_ylabel(), left.get_ylabel()]
    assert [label.replace("\\", "") for label in labels] == [*names, names[0]]
    if view == "3d":
        assert left.get_zlabel().replace("\\", "") == names[1]


def test_the_plane_of_one_scale_keeps_its_angles(monkeypatch, tmp_path):
    right = axes_of(monkeypatch, tmp_path, *lines_between(2))[1]
    assert right.get_aspect() == 1.0
    assert (right.get_xlabel(), right.get_ylabel()) == ("x_1", "x_2")


def test_lines_figure_survives_lost_lines(tmp_path):
    lines, start, end = lines_between(2)
    lines[5:, 3] = np.nan
    lines[:, 4] = 1e30
    arrived = np.ones(60, bool)
    arrived[[3, 4]] = False
    drawing.lines_figure(tmp_path / "a.png", lines, start, end, gap=6.0, view="side", arrived=arrived)
    drawing.lines_figure(tmp_path / "b.png", lines, start, end, gap=6.0, arrived=np.zeros(60, bool))
    assert (tmp_path / "a.png").stat().st_size < 200_000


def test_no_global_state_of_pyplot(tmp_path):
    import sys

    lines, start, end = lines_between(1)
    loaded = "matplotlib.pyplot" in sys.modules
    drawing.lines_figure(tmp_path / "a.png", lines, start, end, gap=6.0)
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_without_matplotlib_the_error_names_the_mend(tmp_path, monkeypatch):
    real_import = builtins.__import__

    def blocked(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", blocked)
    lines, start, end = lines_between(1)
    with pytest.raises(ImportError, match=r"pip install matplotlib"):
        drawing.lines_figure(tmp_path / "a.png", lines, start, end, gap=6.0)


X = np.zeros((4, 12))
LINES = np.zeros((3, 4, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: drawing.grid(X, (2, 2, 2)), r"shape must be \(H, W\)"),
        (lambda p: drawing.grid(X, (3, 3)), r"\[n >= 1, 9\], got \(4, 12\)"),
        (lambda p: drawing.grid(X[:0], (2, 2, 3)), r"got \(0, 12\)"),
        (lambda p: drawing.grid(X, (2, 2, 3), 0), "columns=0"),
        (lambda p: drawing.grid(X, (2, 2, 3), background=300), "background=300"),
        (lambda p: drawing.pairs_grid(X, X[:2], (2, 2, 3)), r"\(4, 12\) and \(2, 12\)"),
        (lambda p: drawing.pairs_grid(X, X, (2, 2, 3), 0), "columns=0"),
        (lambda p: drawing.strip(X, (2, 2, 3)), r"\[t, n, 12\] or \[t, n, 13\]"),
        (lambda p: drawing.strip(X[None], (2, 2, 3), 0), "columns must be >= 1"),
        (lambda p: drawing.save_png(p / "a.png", X), "uint8"),
        (lambda p: drawing.save_png(p / "a.jpg", X.astype(np.uint8)), ".png"),
        (lambda p: drawing.lines_figure(p / "a.png", np.zeros((3, 4, 5)), X, X, gap=1.0), "D = 1 or 2"),
        (
            lambda p: drawing.lines_figure(p / "a.png", LINES, X, X[:, :2], gap=1.0),
            r"source must .* \[n >= 1, 2\]",
        ),
        (
            lambda p: drawing.lines_figure(p / "a.png", LINES, X[:, :2], X[:, :2], gap=1.0, view="top"),
            "'3d' or 'side', got 'top'",
        ),
        (
            lambda p: drawing.lines_figure(
                p / "a.png", LINES, X[:, :2], X[:, :2], gap=1.0, arrived=np.ones(3, bool)
            ),
            r"arrived must have shape \[4\]",
        ),
    ],
)
def test_bad_input_is_named(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
        call(tmp_path)
    assert not list(tmp_path.iterdir())
