"""Labeled data: a class is drawn as its data alone, groups hold one class each, labels follow their shares."""

import numpy as np
import pytest
from _labeled import LABELS, POS
from PIL import Image

from efm_jax.datasets import (
    batch,
    class_shares,
    digit_source,
    draw_labels,
    from_array,
    open_source,
    toys,
    with_classes,
)

RNG = np.random.default_rng(0)


def test_a_class_is_drawn_as_the_data_of_that_class_alone():
    images = RNG.integers(0, 256, (40, 5, 5)).astype(np.uint8)
    labels = np.arange(40) % 4
    for color in (True, False):
        whole = digit_source(images, labels, size=8, color=color)
        alone = digit_source(images, labels, digit=2, size=8, color=color)
        assert alone.classes is None
        for n in (6, 25):  # fewer than the ten samples of the class, and more
            drawn = batch(whole, 0, 1, 7, n, labels=[2])
            np.testing.assert_array_equal(drawn, batch(alone, 0, 1, 7, n))
        without = whole._replace(classes=None)
        np.testing.assert_array_equal(batch(whole, 0, 1, 7, 6, labels=[-1]), batch(without, 0, 1, 7, 6))


def test_groups_hold_their_class_and_hosts_read_their_rows_of_them():
    samples = from_array(np.c_[LABELS, np.arange(60)].astype(float))
    source = with_classes(samples, LABELS)
    labels = [2, 0, -1, 2]
    whole = batch(source, 3, 0, 5, 24, labels=labels)
    for group in (0, 1, 3):
        assert (whole[6 * group : 6 * group + 6, 0] == labels[group]).all()
    assert len(np.unique(whole[12:18, 0])) > 1
    assert set(whole[:6, 1]) != set(whole[18:, 1])  # two groups of one class are two draws
    parts = [batch(source, 3, 0, 5, 24, labels=labels, rows=slice(i, i + 8)) for i in (0, 8, 16)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_labels_follow_their_shares_and_dropout():
    source = with_classes(from_array(np.zeros((10, 1))), [0, 2, 2, 2, 2, 2, 2, 2, 3, 3])
    labels = np.concatenate([draw_labels(source, 1, step, 4, dropout=0.2) for step in range(2000)])
    got = np.bincount(labels + 1, minlength=5) / len(labels)
    expected = np.array([0.2, *(0.8 * class_shares(source))])
    # five standard errors of a share of 8,000 draws: below 0.028
    np.testing.assert_allclose(got, expected, atol=0.028)
    assert got[2] == 0  # a class without samples
    assert not (draw_labels(source, 1, 3, 400) == draw_labels(source, 1, 4, 400)).all()
    np.testing.assert_array_equal(draw_labels(source, 1, 3, 400), draw_labels(source, 1, 3, 400))


def test_parts_of_a_mixture_are_its_classes():
    left, right = (batch(toys.two_gaussians(), 0, 0, 0, 50, labels=[label])[:, 0] for label in (0, 1))
    assert left.max() < -4.0 < 4.0 < right.min()  # centers at -8 and 8, standard deviation 1
    assert len(toys.eight_gaussians().classes) == 8


def test_folders_and_arrays_bring_their_labels(tmp_path):
    for name, value in (("b/1", 10), ("a/1", 20), ("a/deep/2", 30)):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), value).save(tmp_path / "pictures" / f"{name}.png")
    source = open_source(f"folder:{tmp_path / 'pictures'}", split="all", gray=True)
    values = [set(batch(source, 0, 0, 0, 20, labels=[label])[:, 0].tolist()) for label in (0, 1)]
    assert [sorted(round(127.5 * (v + 1)) for v in found) for found in values] == [[20, 30], [10]]
    Image.new("L", (2, 2)).save(tmp_path / "pictures" / "3.png")  # one that lies in no folder
    assert open_source(f"folder:{tmp_path / 'pictures'}", split="all").classes is None

    path = tmp_path / "x.npz"
    np.savez(path, x=np.arange(5.0)[:, None], labels=[0, 1, 0, 1, 1])
    source = open_source(f"npz:{path}:x", split="all")
    assert sorted(set(batch(source, 0, 0, 0, 30, labels=[0]).ravel())) == [0.0, 2.0]
    for labels, why in (
        ([0, 1, 0, 1], r"labels has shape \(4,\), expected \(5,\)"),
        (np.arange(5.0), "whole numbers >= 0, got float64"),
        ([0, 1, 0, 1, -1], "got -1 to 1"),
        ([0, 1, 0, 1, 5], "fewer than samples, got 0 to 5"),
    ):
        np.savez(path, x=np.arange(5.0)[:, None], labels=labels)
        with pytest.warns(UserWarning, match=rf"x\.npz is read without classes: .*{why}"):
            assert open_source(f"npz:{path}:x", split="all").classes is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: with_classes(toys.moons(), [0]), "labels need a finite source"),
        (lambda: with_classes(POS, LABELS[:3]), r"one for each of the 60 samples, got .* shape \(3,\)"),
        (lambda: with_classes(POS, LABELS - 1), "whole numbers >= 0"),
        (lambda: batch(POS, 0, 0, 0, 4, labels=[3]), r"samples of the classes \[0, 1, 2\], .* got 3"),
        (lambda: batch(POS, 0, 0, 0, 4, labels=[0, 1, 2]), "as many groups as divide the 4 samples"),
        (lambda: draw_labels(toys.moons(), 0, 0), "the source has no classes"),
        (lambda: draw_labels(POS, 0, 0, dropout=1.5), r"probability in \[0, 1\], got 1.5"),
        (lambda: draw_labels(POS, 0, 0, 0), "label groups must be a whole number >= 1, got 0"),
    ],
)
def test_labels_that_do_not_fit_are_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()
