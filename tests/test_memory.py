"""What memory is free, as systems and containers say it."""

import pytest

from efm_jax._core import memory


@pytest.mark.parametrize("version", memory._CONTAINER)
def test_a_container_may_take_its_limit_less_what_it_keeps(tmp_path, version):
    limit, used, pages = version
    (tmp_path / used).parent.mkdir(exist_ok=True)
    (tmp_path / limit).write_text("1000\n")
    (tmp_path / used).write_text("700\n")
    (tmp_path / used).with_name("memory.stat").write_text(f"anon 400\n{pages} 250\n")
    assert memory._left(*version, root=tmp_path) == 550  # pages of files are given back
    (tmp_path / used).write_text("1400\n")
    assert memory._left(*version, root=tmp_path) == 0
    (tmp_path / limit).write_text("max\n")
    assert memory._left(*version, root=tmp_path) is None


def test_what_is_free_is_less_than_there_is_and_is_told_before_it_is_taken():
    free = memory.free()
    assert free is None or 0 <= free < 1 << 50
    with pytest.raises(
        ValueError, match=r"it needs at least .* GiB of memory, .* GiB are free\.\nTake less\."
    ):
        memory.check("it", 1 << 60, "Take less.")
