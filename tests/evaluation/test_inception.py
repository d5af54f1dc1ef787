"""FID's Inception beside a float64 forward written apart, its file of weights, its names in reports."""

import functools

import jax
import numpy as np
import pytest
import safetensors.numpy
import torch_files

from efm_jax.evaluation import pictures
from efm_jax.evaluation.features import (
    check_activations,
    extract,
    fid,
    inception,
    inception_v3,
    open_extractor,
    own,
)

SIDE = 107  # the last blocks see 2 x 2 pixels: their pools differ there


def drawn(shapes, seed=0):
    """Tensors of such names and shapes that keep activations of size 1 through the network."""
    rng = np.random.default_rng(seed)
    ranges = {"running_var": (0.5, 1.5), "running_mean": (-0.3, 0.3), "bias": (-0.3, 0.3)}

    def one(name, shape):
        if len(shape) == 4:
            return rng.normal(size=shape) * (2.0 / np.prod(shape[1:])) ** 0.5
        return rng.uniform(*ranges.get(name.rpartition(".")[2], (0.7, 1.3)), shape)

    return {name: one(name, shape) for name, shape in shapes.items()}


# the network, module by module as the torch checkpoint has it, [n, C, H, W] in float64 -----------------------------------


def windows(x, size, stride, padding, fill):
    pad = [(0, 0), (0, 0), *((p, p) for p in padding)]
    x = np.pad(x, pad, constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))[:, :, ::stride, ::stride]


def reference(t, images):
    def conv(x, name, stride=1, padding=(0, 0)):
        kernel = t[f"{name}.conv.weight"]
        h = np.einsum(
            "nchwij,ocij->nohw", windows(x, kernel.shape[2:], stride, padding, 0.0), kernel, optimize=True
        )
        gain, shift, mean, variance = (
            t[f"{name}.bn.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return np.maximum((h - mean) / np.sqrt(variance + 1e-3) * gain + shift, 0.0)

    def largest(x, stride, padding):
        return windows(x, (3, 3), stride, (padding, padding), -np.inf).max(axis=(4, 5))

    def average(x):
        return np.nanmean(windows(x, (3, 3), 1, (1, 1), np.nan), axis=(4, 5))  # padding is not counted

    def a(x, m):
        return [
            conv(x, f"{m}.branch1x1"),
            conv(conv(x, f"{m}.branch5x5_1"), f"{m}.branch5x5_2", padding=(2, 2)),
            conv(
                conv(conv(x, f"{m}.branch3x3dbl_1"), f"{m}.branch3x3dbl_2", padding=(1, 1)),
                f"{m}.branch3x3dbl_3",
                padding=(1, 1),
            ),
            conv(average(x), f"{m}.branch_pool"),
        ]

    def b(x, m):
        h = conv(conv(x, f"{m}.branch3x3dbl_1"), f"{m}.branch3x3dbl_2", padding=(1, 1))
        return [conv(x, f"{m}.branch3x3", 2), conv(h, f"{m}.branch3x3dbl_3", 2), largest(x, 2, 0)]

    def c(x, m):
        h = conv(conv(x, f"{m}.branch7x7_1"), f"{m}.branch7x7_2", padding=(0, 3))
        d = conv(x, f"{m}.branch7x7dbl_1")
        for i, padding in ((2, (3, 0)), (3, (0, 3)), (4, (3, 0)), (5, (0, 3))):
            d = conv(d, f"{m}.branch7x7dbl_{i}", padding=padding)
        h = conv(h, f"{m}.branch7x7_3", padding=(3, 0))
        return [conv(x, f"{m}.branch1x1"), h, d, conv(average(x), f"{m}.branch_pool")]

    def d(x, m):
        h = conv(conv(x, f"{m}.branch7x7x3_1"), f"{m}.branch7x7x3_2", padding=(0, 3))
        h = conv(conv(h, f"{m}.branch7x7x3_3", padding=(3, 0)), f"{m}.branch7x7x3_4", 2)
        return [conv(conv(x, f"{m}.branch3x3_1"), f"{m}.branch3x3_2", 2), h, largest(x, 2, 0)]

    def e(x, m, pool):
        h = conv(x, f"{m}.branch3x3_1")
        d = conv(conv(x, f"{m}.branch3x3dbl_1"), f"{m}.branch3x3dbl_2", padding=(1, 1))
        return [
            conv(x, f"{m}.branch1x1"),
            conv(h, f"{m}.branch3x3_2a", padding=(0, 1)),
            conv(h, f"{m}.branch3x3_2b", padding=(1, 0)),
            conv(d, f"{m}.branch3x3dbl_3a", padding=(0, 1)),
            conv(d, f"{m}.branch3x3dbl_3b", padding=(1, 0)),
            conv(pool(x), f"{m}.branch_pool"),
        ]

    x = ((np.stack([bilinear(picture, SIDE) for picture in images]) - 128.0) / 128.0).transpose(0, 3, 1, 2)
    x = conv(conv(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3")
    x = largest(conv(x, "Conv2d_2b_3x3", padding=(1, 1)), 2, 0)
    x = largest(conv(conv(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), 2, 0)
    kinds = {"5b": a, "5c": a, "5d": a, "6a": b, "6b": c, "6c": c, "6d": c, "6e": c, "7a": d}
    kinds |= {
        "7b": functools.partial(e, pool=average),
        "7c": functools.partial(e, pool=lambda x: largest(x, 1, 1)),
    }
    for name, block in kinds.items():
        x = np.concatenate(block(x, f"Mixed_{name}"), axis=1)
    return x.mean(axis=(2, 3))


def bilinear(picture, side):
    """TensorFlow 1's rule, pixel by pixel in float64."""
    height, width, _ = picture.shape
    picture = picture.astype(np.float64)
    out = np.zeros((side, side, picture.shape[2]))
    for i, j in np.ndindex(side, side):
        y, x = i * height / side, j * width / side
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        p, q = y - top, x - left
        out[i, j] = (1 - p) * ((1 - q) * picture[top, left] + q * picture[top, right])
        out[i, j] += p * ((1 - q) * picture[bottom, left] + q * picture[bottom, right])
    return out


def photographs(n, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3)).astype(np.uint8)


def test_the_forward_equals_a_float64_one_written_apart():
    tensors = drawn(inception_v3.shapes(16))
    images = photographs(2, 40, 33)
    images[1] //= 3
    got = np.asarray(
        jax.jit(inception_v3.forward, static_argnums=2)(inception_v3.fold(tensors), images, SIDE)
    )
    expected = reference(tensors, images)
    assert (
        np.abs(expected[0] - expected[1]) > 0.02 * expected.max()
    ).sum() > 20  # the pictures are told apart
    # float32 sums of at most 300 numbers of size 1, 40 layers deep
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * expected.max())


@pytest.mark.parametrize(("height", "width", "side"), [(8, 12, 29), (40, 31, 17), (9, 9, 9)])
def test_resizing_is_that_of_tensorflow_1(height, width, side):
    images = photographs(1, height, width)
    # positions are float32: off by 1e-6 of the picture, times 255 gray levels a pixel
    got = jax.jit(inception_v3.resized, static_argnums=1)(images, side)
    np.testing.assert_allclose(got[0], bilinear(images[0], side), atol=0.02)


def test_the_whole_has_the_shapes_of_the_published_file():
    shapes = inception_v3.shapes()
    # of the 566 tensors there: 94 counts of batches and two of the classifier are not needed
    assert len(shapes) == 566 - 94 - 2
    stated = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
        "Mixed_6e.branch7x7dbl_5.bn.running_var": (192,),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7c.branch3x3dbl_1.conv.weight": (448, 2048, 1, 1),
    }
    assert {name: shapes[name] for name in stated} == stated
    # 24 M of Inception-V3 with its classifier of 1000, published as 23.8 M; without: 21.8 M
    assert sum(np.prod(s) for n, s in shapes.items() if "running" not in n) == 21_785_568
    weights = {
        name.removesuffix(".conv.weight"): inception_v3.Layer(
            jax.ShapeDtypeStruct((*shape[2:], shape[1], shape[0]), np.float32),
            jax.ShapeDtypeStruct(shape[:1], np.float32),
        )
        for name, shape in shapes.items()
        if len(shape) == 4
    }
    seen = jax.ShapeDtypeStruct((2, 32, 32, 3), np.uint8)
    assert jax.eval_shape(inception_v3.forward, weights, seen).shape == (2, 2048)


# files ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """The network with an eighth of a sixteenth of its cost: fewer channels, a smaller picture."""
    shapes = inception_v3.shapes(16)
    monkeypatch.setattr(inception_v3, "shapes", lambda: shapes)
    monkeypatch.setattr(inception_v3, "NUM_FEATURES", 128)
    monkeypatch.setattr(
        fid, "_forward", lambda layers, pictures: pictures.reshape(len(pictures), -1)[:, :128] + 1.0
    )
    return {name: np.asarray(tensor, np.float32) for name, tensor in drawn(shapes).items()}


def with_the_rest(tensors, classes=1008):
    counts = {
        name.replace("running_var", "num_batches_tracked"): np.zeros((), np.int64)
        for name in tensors
        if "_var" in name
    }
    return (
        tensors
        | counts
        | {"fc.weight": np.zeros((classes, 128), np.float32), "fc.bias": np.zeros(classes, np.float32)}
    )


@pytest.mark.parametrize("form", ["old", "zipped", "safetensors"])
def test_both_torch_layouts_and_safetensors_are_read(tmp_path, small, form):
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        path.write_bytes(safetensors.numpy.save(small))
    else:
        path.write_bytes(torch_files.saved(with_the_rest(small), getattr(torch_files, form)))
    layers, expected = inception_v3.load(path), inception_v3.fold(small)
    assert layers.keys() == expected.keys()
    assert len(layers) == 94
    for name, layer in layers.items():
        np.testing.assert_array_equal(layer.kernel, expected[name].kernel)
        np.testing.assert_array_equal(layer.bias, expected[name].bias)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda t: t.pop("Mixed_6a.branch3x3.bn.bias"),
            r"Mixed_6a\.branch3x3\.bn\.bias .* got nothing; give pt_inception",
        ),
        (
            lambda t: t.update({"Mixed_7c.branch1x1.conv.weight": np.zeros((20, 9, 1, 1), np.float32)}),
            r"got \(20, 9, 1, 1\)",
        ),
        (
            lambda t: t.update({"Conv2d_1a_3x3.bn.bias": np.array([0.0, np.nan], np.float32)}),
            "must be finite",
        ),
        (
            lambda t: t.update({"AuxLogits.fc.weight": np.zeros((9, 9), np.float32)}),
            "holds AuxLogits.fc.weight of shape",
        ),
        (
            lambda t: t.update(with_the_rest({}, 1000)),
            r"holds fc\.\w+ of shape \(1000.*torchvision's network",
        ),
    ],
)
def test_files_of_other_networks_are_named(tmp_path, small, spoil, told):
    spoil(small)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.numpy.save(small))
    with pytest.raises(ValueError, match=told):
        inception(path)


def test_a_script_of_torch_is_refused_and_not_run(tmp_path):
    (tmp_path / "a.pt").write_bytes(torch_files.zipped(b"\x80\x02c__torch__\nRun\n)\x81.", {}))
    with pytest.raises(ValueError, match="cannot be read as torch weights"):
        inception(tmp_path / "a.pt")


# names ------------------------------------------------------------------------------------------------------------------


def test_only_the_published_file_makes_a_fid(tmp_path, small, monkeypatch):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.numpy.save(small))
    a, b = photographs(16, 8, 8, seed=1), photographs(40, 8, 8, seed=2)

    def labels():
        report = pictures.pictures_report(a, b, extractor=open_extractor(f"inception:{path}"), kid_subsets=2)
        return {report["scores"][name]["label"] for name in ("kid", "frechet")}, report

    digest = fid.hashlib.sha256(path.read_bytes()).hexdigest()
    told, report = labels()
    assert told == {f"KID-Inception-{digest[:8]}", f"Frechet-Inception-{digest[:8]}"}
    assert "unknown origin" in report["features"]["how"]
    assert "FID" not in pictures.table(report).splitlines()[3]
    monkeypatch.setattr(fid, "PUBLISHED", digest)
    told, report = labels()
    assert told == {"KID-Inception", "FID"}
    assert "at the same number of pictures only" in report["scores"]["frechet"]["how"]


def test_the_digest_is_that_of_the_published_name():
    assert fid.PUBLISHED.startswith(
        "6726825d"
    )  # torch's names of files end with the first digits of their sha256
    assert len(fid.PUBLISHED) == 64


@pytest.mark.parametrize("name", ["inception", "inception:", "vgg"])
def test_unknown_features_are_named(name):
    with pytest.raises(
        ValueError, match=f"no features named '{name}'; known are efficientnet, digits, inception:FILE"
    ):
        open_extractor(name)


def test_published_activations_check_an_extractor():
    colors = own(lambda images: images.mean(axis=(1, 2)), "colors")
    images = photographs(5, 6, 6)
    published = extract(colors, images).astype(np.float64)
    assert check_activations(colors, images, published * (1 + 1e-5)) == pytest.approx(
        1e-5, rel=0.05
    )  # of float32
    with pytest.raises(
        ValueError, match=r"not the published ones: 5 of 5 pictures .* Check weights, order of colors"
    ):
        check_activations(colors, images, published[:, ::-1])
    published[3] *= 1.01
    with pytest.raises(
        ValueError, match=r"1 of 5 pictures are off by more than 0\.001 of their length, picture 3 by 0\.0099"
    ):
        check_activations(colors, images, published)
    assert check_activations(colors, images, published, tolerance=0.02) == pytest.approx(
        0.01 / 1.01, rel=1e-3
    )
    for wrong in (published[:4], published[:, :2], published * np.nan, published * 0.0):
        with pytest.raises(ValueError, match=r"finite features of shape \(5, 3\), none of them all zero"):
            check_activations(colors, images, wrong)
