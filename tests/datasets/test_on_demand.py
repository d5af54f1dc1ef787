"""Pictures decoded when they are drawn: the samples of those in memory, and no others are decoded."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efm_jax.datasets import batch, read_folder
from efm_jax.datasets.opening import Options, opened
from efm_jax.datasets.source import Source, chosen

COUNT, N = 60, 12


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(params=["folder", "tar", "parquet"])
def spec(request, tmp_path) -> str:
    """Sixty pictures of three classes, in a folder, in two tar files, or in nine groups of rows of a parquet file."""
    contents = {f"{'abc'[k % 3]}/{k:03d}.png": png(k) for k in range(COUNT)}
    for name, content in contents.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for name in sorted(contents)[shard * COUNT // 2 : (shard + 1) * COUNT // 2]:
                tar.add(tmp_path / "folder" / name, name)
    if request.param == "parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        names = sorted(contents)
        columns = {"photo": [contents[name] for name in names], "label": [name[0] for name in names]}
        # no dictionary and no compression: the bytes of each picture lie in the file as they are
        options = {"row_group_size": 7, "use_dictionary": False, "compression": "none"}
        parquet.write_table(pa.table(columns), tmp_path / "a.parquet", **options)
        return f"parquet:{tmp_path}/a.parquet"
    return f"folder:{tmp_path}/folder" if request.param == "folder" else f"tar:{tmp_path}/{{0..1}}.tar"


@pytest.mark.smoke
@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(split="test", size=8, flip=True),
        Options(split="all", size=(6, 9), gray=True, crop=7, jitter=0.5),
    ],
)
def test_samples_are_those_from_memory_bit_for_bit(spec, options):
    plain, drawn = (opened(spec, options._replace(cache=cache)) for cache in ("memory", "none"))
    assert (drawn.shape, drawn.size, drawn.class_names) == (plain.shape, plain.size, plain.class_names)
    for labels in (None, [0], [2, -1]):
        for rows in (None, slice(1, 4)):
            one, other = (batch(source, 3, 0, 7, N, rows=rows, labels=labels) for source in (plain, drawn))
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("asked", [[59, 0, 31, 0, 30, 6, 7, 59], [*range(COUNT)][::-1]])
def test_samples_come_in_the_order_asked_for_and_twice_where_asked_twice(spec, asked):
    plain, drawn = (opened(spec, Options(split="all", cache=cache)) for cache in ("memory", "none"))
    np.testing.assert_array_equal(drawn.draw.read(np.array(asked)), plain.draw.read(np.array(asked)))


def held(source: Source, steps: range, rows: slice) -> set[int]:
    """The pictures in some rows of some batches."""
    return {int(k) for step in steps for k in chosen(source, 0, 0, step, N)[0][rows]}


@pytest.mark.parametrize("host", [0, 1])
def test_a_host_opens_the_pictures_of_its_own_rows_alone(spec, host):
    """The other host's are destroyed on its disk; what both draw in some step is left, and so is the first, for its size."""
    source, steps = opened(spec, Options(split="all", cache="none")), range(2)
    plain = opened(spec, Options(split="all", cache="memory"))
    rows = (slice(0, N // 2), slice(N // 2, N))
    wanted = [batch(plain, 0, 0, step, N, rows=rows[host]) for step in steps]
    own, others = (held(source, steps, rows[one]) for one in (host, 1 - host))
    gone = others - own - {0}
    assert len(gone) >= N // 2
    for k in gone:
        destroy(spec, k)
    source = opened(spec, Options(split="all", cache="none"))
    for step, x in zip(steps, wanted, strict=True):
        np.testing.assert_array_equal(batch(source, 0, 0, step, N, rows=rows[host]), x)
    with pytest.raises(ValueError, match=r"cannot be read as a picture .*; remove or repair it"):
        source.draw.read(np.array(sorted(gone)))


def destroy(spec: str, k: int) -> None:
    """Overwrite the bytes of picture k, sorted by name, with zeros."""
    kind, _, place = spec.partition(":")
    if kind == "folder":
        path = sorted(Path(place).rglob("*.png"))[k]
        path.write_bytes(bytes(path.stat().st_size))
        return
    if kind == "parquet":
        names = sorted((Path(place).parent / "folder").rglob("*.png"))
        overwrite(Path(place), Path(place).read_bytes().index(names[k].read_bytes()), names[k].stat().st_size)
        return
    path = Path(place).parent / f"{2 * k // COUNT}.tar"
    with tarfile.open(path) as tar:
        member = sorted(tar.getmembers(), key=lambda one: one.name)[k % (COUNT // 2)]
    overwrite(path, member.offset_data, member.size)


def overwrite(path: Path, start: int, count: int) -> None:
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(bytes(count))


def test_what_cannot_be_read_so_is_said(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(0))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(folder / "a.png", "a.png")
    with pytest.raises(ValueError, match="it is compressed: with cache 'none' it must be plain"):
        opened(f"tar:{tmp_path}/a.tar.gz", Options(cache="none"))
    with pytest.raises(ValueError, match="too late to leave some out"):
        read_folder(folder, cache="none", on_error="skip")
    Image.new("RGB", (4, 5)).save(folder / "b.png")
    images = read_folder(folder, cache="none").images
    assert images[:1].shape == (1, 8, 9, 3)
    with pytest.raises(ValueError, match=r"the first is 9 x 8 and .*b.png is 4 x 5 pixels; give size="):
        images[np.array([0, 1])]
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        read_folder(tmp_path / "none", cache="none")
