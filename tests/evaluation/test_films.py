"""Films: where samples are drawn, at which moment, and what is written."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from efm_jax.evaluation import drawing, films


def test_pictures_of_each_moment_are_their_grid():
    path = np.random.default_rng(0).uniform(-1, 1, (3, 5, 13))  # z last
    frames = films.picture_frames(path, (2, 2, 3), 2, zoom=3)
    for t, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, drawing.grid(path[t, :, :12], (2, 2, 3), 2, zoom=3))


def centers(frame, color, panel):
    """Where pixels of a color are, as shares of a panel's width and height."""
    near = np.abs(frame.astype(int) - ImageColor.getrgb(color)).sum(axis=-1) < 40
    y, x = np.nonzero(near[:, 320 * panel : 320 * (panel + 1)])
    return np.array([x.mean(), y.mean()]) / 320


def test_samples_move_from_their_start_to_their_end():
    start, end = np.array([[0.0, 0.0]]), np.array([[1.0, 1.0]])
    lines = np.linspace(np.c_[start, 0.0], np.c_[end, 6.0], 5)
    frames = films.lines_frames(lines, start, end, gap=6.0)
    assert len(frames) == 5
    first, middle, last = (centers(frames[t], drawing.END, 1) for t in (0, 2, 4))
    np.testing.assert_allclose(middle, [0.5, 0.5], atol=0.01)  # a dot of a few of 320 pixels
    assert first[0] < 0.2 < 0.8 < last[0]
    assert last[1] < 0.2 < 0.8 < first[1]  # upward
    seen = [centers(frames[t], drawing.END, 0)[0] for t in range(5)]  # over z, evenly
    np.testing.assert_allclose(np.diff(seen), np.diff(seen).mean(), atol=0.01)


def test_columns_of_other_scales_fill_the_plane():
    start, end = np.array([[0.0, 0.0]]), np.array([[1.0, 1e4]])
    lines = np.linspace(np.c_[start, 0.0], np.c_[end, 6.0], 5)
    frames = films.lines_frames(lines, start, end, gap=6.0)
    first, last = (centers(frames[t], drawing.END, 1) for t in (0, -1))
    assert first[0] < 0.2 < 0.8 < last[0]
    assert last[1] < 0.2 < 0.8 < first[1]


def test_backward_lines_and_lost_ones_are_drawn_too():
    lines = np.linspace([[0.0, 6.0], [np.nan, np.nan]], [[1.0, 0.0], [np.inf, 1e30]], 3)
    frames = films.lines_frames(lines, np.zeros((4, 1)), np.ones((4, 1)), gap=6.0)
    assert frames[0].shape == (320, 320, 3)
    assert centers(frames[0], drawing.END, 0)[0] > centers(frames[2], drawing.END, 0)[0]


def test_samples_of_a_plane_keep_their_distances():
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(7, 2)))[0].T
    flat = rng.normal(size=(40, 2)) @ basis + 3.0
    lines = np.concatenate([flat[None], np.zeros((1, 40, 1))], axis=-1)
    way, p, q = films.projected(lines, flat[:20], flat[20:])
    both = np.concatenate([p, q])
    for got in (both, way[0, :, :2]):
        want = np.linalg.norm(flat[:, None] - flat, axis=-1)
        np.testing.assert_allclose(np.linalg.norm(got[:, None] - got, axis=-1), want, atol=1e-9)  # float64
    assert films.lines_frames(lines, flat[:20], flat[20:], gap=1.0)[0].shape == (320, 640, 3)


def test_a_film_holds_its_frames_and_rests_at_both_ends(tmp_path):
    frames = [np.full((10, 12, 3), level, np.uint8) for level in (0, 80, 160, 240)]
    films.save_film(tmp_path / "new" / "a.webp", frames, seconds=1.0)
    with Image.open(tmp_path / "new" / "a.webp") as film:
        assert film.format == "WEBP"
        levels, times = [], []
        for t in range(film.n_frames):
            film.seek(t)
            film.load()
            levels.append(int(np.asarray(film.convert("RGB")).mean()))
            times.append(film.info["duration"])
    np.testing.assert_allclose(levels, [0, 80, 160, 240], atol=3)  # quality 80 of even frames
    assert times == [1000, 250, 250, 1000]
    with pytest.raises(ValueError, match=r"written as .webp or .gif, got 'a.png'"):
        films.save_film(tmp_path / "a.png", frames)
    with pytest.raises(ValueError, match="got 0 frames"):
        films.save_film(tmp_path / "a.webp", [])
