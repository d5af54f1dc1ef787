"""Lines in axes of a user's own, and animations: what is drawn where, in how many frames."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from efm_jax.evaluation import drawing
from efm_jax.types import FieldLines

RNG = np.random.default_rng(0)
START = RNG.normal(size=(30, 2))
END = START[:, ::-1] + 4.0
WAY = np.linspace(np.c_[START, np.zeros(30)], np.c_[END, np.full(30, 6.0)], 9)


def axes():
    return Figure().add_subplot()


def dots(ax, color):
    """Places of the dots of a color."""
    return np.concatenate(
        [c.get_offsets() for c in ax.collections if np.allclose(c.get_facecolor()[0, :3], to_rgb(color))]
    )


def test_lines_run_in_the_plane_from_blue_starts_to_green_ends():
    ax = axes()
    assert drawing.lines(ax, WAY) is ax
    drawn = np.array([line.get_xydata() for line in ax.lines])
    np.testing.assert_array_equal(drawn, WAY[..., :2].swapaxes(0, 1))
    np.testing.assert_array_equal(dots(ax, drawing.SOURCE), START)
    np.testing.assert_array_equal(dots(ax, drawing.END), END)


def test_backward_lines_start_red_and_lost_ones_are_dashed_without_an_end():
    arrived = np.arange(30) != 4
    lines = FieldLines(WAY[0], WAY[::-1], arrived, np.zeros(30, int))
    ax = drawing.lines(axes(), lines)
    np.testing.assert_array_equal(dots(ax, drawing.TARGET), END)
    np.testing.assert_array_equal(dots(ax, drawing.END), START[arrived])
    assert [line.get_linestyle() for line in ax.lines].count("--") == 1


def test_many_dimensions_keep_the_distances_of_the_plane_they_lie_in():
    basis = np.linalg.qr(RNG.normal(size=(7, 2)))[0].T
    way = np.concatenate([WAY[..., :2] @ basis + 1.0, WAY[..., 2:]], axis=-1)
    drawn = np.array([line.get_xydata() for line in drawing.lines(axes(), way).lines])
    got, want = (
        np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) for x in (drawn, WAY[..., :2].swapaxes(0, 1))
    )
    np.testing.assert_allclose(got, want, atol=1e-9)  # float64


def test_one_dimension_is_drawn_over_the_height_in_a_new_figure():
    ax = drawing.lines(None, WAY[..., 1:])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z", "x_1")
    np.testing.assert_array_equal(dots(ax, drawing.END), np.c_[np.full(30, 6.0), END[:, 1]])


def test_an_animation_has_the_frames_asked_for_and_ends_at_the_ends(tmp_path):
    ax = axes()
    drawing.lines(ax, WAY)
    for collection in [*ax.collections]:
        collection.remove()  # dots of the animation alone are green
    assert drawing.animate(WAY, tmp_path / "lines.gif", ax=ax, frames=14, seconds=1.4) is ax
    np.testing.assert_array_equal(dots(ax, drawing.END), END)
    with Image.open(tmp_path / "lines.gif") as film:
        assert film.n_frames == 14
        centers = []
        for t in (0, 13):
            film.seek(t)
            pixels = np.asarray(film.convert("RGB"), int)
            # a palette of 256 colors moves a level by a few of 255
            y, x = np.nonzero(np.abs(pixels - 255 * np.array(to_rgb(drawing.END))).sum(axis=-1) < 40)
            inverse = ax.transData.inverted()
            centers.append(inverse.transform([x.mean(), len(pixels) - 1 - y.mean()]))
    # dots hide each other in part: within a tenth of the way, which is 4 in either direction
    np.testing.assert_allclose(centers, [START.mean(axis=0), END.mean(axis=0)], atol=0.4)


def test_between_positions_samples_move_straight(tmp_path, monkeypatch):
    seen, ax, saved = [], axes(), Figure.savefig

    def save(figure, *args, **options):
        seen.append(dots(ax, drawing.END))
        saved(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", save)
    drawing.animate(np.stack([WAY[0], WAY[-1]]), tmp_path / "lines.webp", ax=ax, frames=5)
    np.testing.assert_allclose(seen, np.linspace(START, END, 5), atol=1e-12)


def test_what_cannot_be_drawn_is_refused_before_any_work(tmp_path):
    lines = FieldLines(WAY[-1], None, np.ones(30, bool), np.zeros(30, int))
    with pytest.raises(ValueError, match=r"without their path.\nFollow them with save"):
        drawing.lines(None, lines)
    with pytest.raises(ValueError, match=r"shape \[t, n, D\+1\], got \(9, 30\)"):
        drawing.lines(None, WAY[..., 0])
    with pytest.raises(ValueError, match=r"as .webp or .gif, got 'a.mp4'"):
        drawing.animate(WAY, tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="at least two frames, got 1"):
        drawing.animate(WAY, tmp_path / "a.gif", frames=1)
    assert not [*tmp_path.iterdir()]
