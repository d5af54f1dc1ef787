"""Pictures in a column of a parquet file: the samples of a folder of the same files, and no path in it is opened."""

import datetime
import io
import json

import numpy as np
import pytest
from PIL import Image

from efm_jax.datasets import _picture_column, batch, tables
from efm_jax.datasets.identity import digest
from efm_jax.datasets.opening import Options, opened, specification

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def png(seed: int, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 1, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def hugging_face(path, contents, labels=None, names=None, **more):
    """A file as `datasets.Dataset.to_parquet` writes it."""
    image = pa.array(
        [{"bytes": content, "path": f"{k}.png"} for k, content in enumerate(contents)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    columns, features = {"image": image, **more}, {"image": {"_type": "Image"}}
    if labels is not None:
        columns["label"] = pa.array(labels)
        if names is not None:
            features["label"] = {"names": names, "_type": "ClassLabel"}
    table = pa.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    parquet.write_table(table, path, row_group_size=100)
    return path


def pixels(path, **options):
    """All pictures in their order, as bytes, and the source."""
    source = opened(str(path), Options(split="all", **options))
    return source, source.draw.read(np.arange(source.size))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("cache", ["memory", "auto", "disk", "none"])
def test_samples_are_those_of_a_folder_of_the_same_files(tmp_path, monkeypatch, plain, cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    contents = [png(k) for k in range(300)]  # more than are decoded ahead, and several groups of rows
    (tmp_path / "folder").mkdir()
    for k, content in enumerate(contents):
        (tmp_path / "folder" / f"{k:03d}.png").write_bytes(content)
    path = tmp_path / "a.parquet"
    if plain:
        parquet.write_table(pa.table({"width": [9] * 300, "photo": contents}), path, row_group_size=100)
    else:
        hugging_face(path, contents, width=[9] * 300)
    for _ in range(2):
        source, x = pixels(path, size=6, cache=cache)
        np.testing.assert_array_equal(x, pixels(tmp_path / "folder", size=6, cache="memory")[1])
        assert (source.shape, source.size, source.classes) == ((6, 6, 3), 300, None)
    assert (tmp_path / "home").exists() == (cache == "disk")
    sizes = [
        opened(f"parquet:{path}", Options(split=split, held_out=0.3)).size for split in ("train", "test")
    ]
    assert sum(sizes) == 300
    assert 60 < sizes[1] < 120  # 90, four standard deviations of 8


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_classes_have_the_names_that_the_file_gives(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    contents, labels = [png(k) for k in range(6)], [0, 1, 2, 0, 1, 2]
    path = hugging_face(tmp_path / "a.parquet", contents, labels, ["cat", "ant", "bee"])
    source, x = pixels(path, cache=cache)
    assert source.class_names == ("ant", "bee", "cat")
    np.testing.assert_array_equal(
        np.unique(source.of_class(2).draw.read(np.array([0, 3])), axis=0).shape[0], 2
    )
    drawn = batch(source, 0, 0, 0, 2, labels=[2])
    assert {row.tobytes() for row in drawn} == {x[0].tobytes(), x[3].tobytes()}
    for one in ("cat", "0"):
        only, y = pixels(f"{path}:label={one}", cache=cache)
        np.testing.assert_array_equal(y, x[[0, 3]])
        assert only.classes is None
    assert not (tmp_path / "home").exists()  # a few small pictures stay in memory
    with pytest.raises(ValueError, match=r"no row with label = 'dog'"):
        pixels(f"{path}:label=dog", cache=cache)
    with pytest.raises(ValueError, match="has no column 'labl'"):
        pixels(f"{path}:labl=cat", cache=cache)
    plain = hugging_face(tmp_path / "b.parquet", contents, ["10", "2", "2", "10", "2", "2"])
    assert pixels(plain, cache=cache)[0].class_names == ("2", "10")
    with pytest.raises(ValueError, match=r"2 of 6 pictures .* have no label, the others have"):
        pixels(
            hugging_face(tmp_path / "c.parquet", contents, [0, -1, 1, None, 1, 0], ["a", "b"]), cache=cache
        )
    none = hugging_face(tmp_path / "d.parquet", contents, [-1] * 6, ["a", "b"])
    assert pixels(none, cache=cache)[0].classes is None


def test_the_split_of_a_row_does_not_depend_on_what_else_is_read(tmp_path):
    contents, labels = [png(k) for k in range(80)], [k % 2 for k in range(80)]
    path = hugging_face(tmp_path / "a.parquet", contents, labels)
    whole = opened(f"{path}", Options(split="test", held_out=0.4))
    part = opened(f"{path}:label=1", Options(split="test", held_out=0.4))
    rows = {row.tobytes() for row in batch(whole, 0, 0, 0, whole.size)}
    assert {row.tobytes() for row in batch(part, 0, 0, 0, part.size)} <= rows
    assert 0 < part.size < whole.size


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_rows_are_chosen_by_the_values_that_are_offered(tmp_path, cache):
    others = {
        "flag": [True, False, None],
        "x": [1.0, 2.5, None],
        "count": [1, None, 2],
        "day": [datetime.datetime(2020, 1, 1), None, datetime.datetime(2021, 1, 1)],
    }
    path = hugging_face(tmp_path / "a.parquet", [png(0), png(1), png(2)], **others)
    for column in others:
        for value in (text.rpartition(" ")[0] for text in tables.sides(path, column)):
            assert opened(f"{path}:{column}={value}", Options(split="all", cache=cache)).size == 1
    assert [text.rpartition(" ")[0] for text in tables.sides(path, "flag")] == ["", "false", "true"]
    with pytest.raises(
        ValueError, match=r"no row with flag = 'True'.\nIts values are  \(1\), false \(1\), true"
    ):
        opened(f"{path}:flag=True", Options(cache=cache))
    with pytest.raises(ValueError, match=r"has no column 'image'.\nIts columns are"):
        opened(f"{path}:image=1", Options(cache=cache))


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_a_path_in_the_file_is_not_opened(tmp_path, cache):
    (tmp_path / "secret.png").write_bytes(png(0))
    image = pa.array(
        [{"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": png(1), "path": None}],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    parquet.write_table(pa.table({"image": image}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet/row 0 cannot be read as a picture \(it is empty\)"):
        pixels(tmp_path / "a.parquet", cache=cache)
    with pytest.warns(UserWarning, match="left out 1 of 2 pictures"):
        assert pixels(tmp_path / "a.parquet", on_error="skip")[0].size == 1


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_what_is_wrong_is_told(tmp_path, cache):
    contents = [png(0), b"no picture", png(2)]
    bad = hugging_face(tmp_path / "bad.parquet", contents)
    with pytest.raises(ValueError, match=r"bad\.parquet/row 1 cannot be read as a picture"):
        pixels(bad, cache=cache)
    with pytest.raises(ValueError, match="differ in size"):
        pixels(hugging_face(tmp_path / "two.parquet", [png(0), png(1, 9)]), cache=cache)
    two = hugging_face(tmp_path / "mask.parquet", [png(0), png(1)], mask=[png(2), png(3)])
    with pytest.raises(
        ValueError, match=r"several columns of pictures: image, mask\.\nChoose one with --columns image"
    ):
        pixels(two, cache=cache)
    for name, first in (("image", 0), ("mask", 2)):
        (tmp_path / "one.png").write_bytes(png(first))
        got = pixels(two, table=tables.Reading(columns=(name,)), cache=cache)[1]
        want = np.asarray(Image.open(tmp_path / "one.png"), np.float32).ravel() / 127.5 - 1
        np.testing.assert_allclose(got[0], want, atol=1e-6)  # rounding of float32
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(two.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"cut\.parquet is no readable parquet file"):
        pixels(cut, cache=cache)
    empty = parquet.ParquetFile(bad).schema_arrow.empty_table()
    parquet.write_table(empty, tmp_path / "empty.parquet")
    with pytest.raises(FileNotFoundError, match=r"empty\.parquet holds no picture"):
        pixels(tmp_path / "empty.parquet", cache=cache)


def test_a_file_is_not_read_whole(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "a.parquet"
    parquet.write_table(pa.table({"photo": [png(0), *(rng.bytes(5_000) for _ in range(5_999))]}), path)
    assert parquet.ParquetFile(path).num_row_groups == 1
    column = _picture_column.column_of(f"parquet:{path}", tables.ALL)
    assert column is not None
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in _picture_column._items(column))
    assert 0 < most < path.stat().st_size / 2  # pyarrow holds some 1,024 rows, twice
    later = _picture_column._later(column)
    for k in (0, 3_000, 5_999):
        most, content = max((pa.total_allocated_bytes() - before, one) for _, one in later.contents([k]))
        assert 0 < most < path.stat().st_size / 2  # likewise
        assert content == parquet.read_table(path)["photo"][k].as_py()


def test_of_pictures_decoded_when_they_are_drawn_only_their_groups_of_rows_are_read(tmp_path):
    """The pages of the other groups are destroyed; their headers can no longer be read."""
    path = hugging_face(tmp_path / "a.parquet", [png(k) for k in range(300)], label=[7] * 300)
    source, x = pixels(path, cache="none")
    with open(path, "r+b") as file:
        for group in (0, 2):
            chunk = parquet.ParquetFile(path).metadata.row_group(group).column(0)
            file.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
            file.write(bytes(chunk.total_compressed_size))
    rows = np.array([199, 100, 150])
    np.testing.assert_array_equal(source.draw.read(rows), x[rows])
    for row in (99, 200):
        with pytest.raises(ValueError, match=r"a\.parquet is no readable parquet file, or it is damaged"):
            source.draw.read(np.array([row]))
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.parquet is no readable parquet file.*No such file"):
        source.draw.read(rows)


def test_tables_of_numbers_stay_tables(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"a": [1.0, 2.0], "photo": [png(0), png(1)], "key": [b"x", b"y"]}), path)
    for reading in (tables.Reading(drop_text=True), tables.Reading(columns=("a",))):
        source = opened(str(path), Options(split="all", table=reading))
        assert (source.shape, source.columns.names) == ((1,), ("a",))
    assert opened(str(path), Options(split="all")).shape == (8, 9, 3)  # `key` holds bytes and no pictures
    parquet.write_table(pa.table({"a": [1.0, 2.0], "key": [b"x", b"y"]}), path)
    with pytest.raises(ValueError, match=r"1 column without numbers \(key\)"):
        opened(str(path), Options())
    parquet.write_table(pa.table({"a": [1.0, 2.0]}), path)
    with pytest.raises(ValueError, match="crop=4 cuts the pictures"):
        opened(str(path), Options(crop=4))


def test_the_file_is_known_by_its_content(tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        hugging_face(tmp_path / place / "a.parquet", [png(0)])
    assert digest(f"parquet:{tmp_path}/one/a.parquet") == digest(f"parquet:{tmp_path}/two/a.parquet")
    assert specification(tmp_path / "one" / "a.parquet") == f"parquet:{tmp_path}/one/a.parquet"
