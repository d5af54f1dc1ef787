"""The page of a report: what comes from outside is escaped, what is shown is what was measured, nothing is fetched."""

import base64
import hashlib
import io
import math
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from efm_jax.evaluation import page

EVIL = '"/><script>alert(1)</script><img src=x onerror=alert(2)>&amp;$settings'


class Reader(HTMLParser):
    """Tags with their attributes, the text of some of them, and the cells of tables."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta", "br", "rect", "polyline"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        for tag in {*self._open}:
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def report(source="folder:/data/noto", target="moons", **more):
    scores = {"wasserstein2": {"value": 0.51234, "inputs": 2.0, "floor": 0.25}}
    scores |= {"n": 8, "arrived": {"value": 0.75, "n": 8}, "evaluations": {"mean": 24.0}}
    scores |= {
        "kid": {"value": 0.0486, "standard_error": 0.1051, "floor": -0.037, "floor_standard_error": 0.073}
    }
    config = {"data": {"source": source, "target": target}, "recipe": {"method": "efm"}}
    maps = {f"{source} -> {target}": scores, f"{target} -> {source}": scores}
    return {"config": config, "step": 10, "training_seconds": 500.0, "maps": maps, **more}


def png(size=(4, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.smoke
def test_what_comes_from_outside_is_text_and_never_markup():
    known = report(f"folder:/data/{EVIL}", f"npz:{EVIL}:x", classes=[EVIL, "cat"], versions={EVIL: EVIL})
    plain = Reader(page.page(report(classes=["cat"]), pictures={"forward.png": png()}))
    text = page.page(known, pictures={"forward.png": png()}, commands=[(EVIL, f"efm evaluate '{EVIL}'")])
    read = Reader(text)
    assert len(read.all("script")) == 1
    assert [tag for tag, _ in read.tags if tag in ("img", "svg", "details")] == [
        tag for tag, _ in plain.tags if tag in ("img", "svg", "details")
    ]
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert read.texts["code"] == [
        f"efm evaluate '{EVIL}'"
    ]  # to the letter, also what looks like a placeholder
    assert EVIL in read.texts["p"][0]


def test_the_one_script_is_allowed_by_its_hash_and_requests_are_not():
    text = page.page(report(), pictures={"forward.png": png(), "forward.webp": png()})
    (policy,) = [m["content"] for m in Reader(text).all("meta") if "http-equiv" in m]
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "http:" not in text
    assert "https:" not in text


def test_pictures_are_inside_and_missing_ones_left_out():
    content = {"forward.png": png((3, 5)), "backward.webp": png((7, 2))}
    images = Reader(page.page(report(), pictures=content)).all("img")
    found = [Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))) for image in images]
    assert [image.size for image in found] == [(3, 5), (7, 2)]
    assert [image["src"].partition(";")[0] for image in images] == ["data:image/png", "data:image/webp"]


def test_scores_stand_as_inputs_mapped_real():
    read = Reader(page.page(report(), pictures={}))
    assert read.texts["td"] == ["–", "0.05 ±\xa00.11", "−0.04 ±\xa00.07", "2.000", "0.512", "0.250"] * 2
    assert [text for text in read.texts["th"] if text][:3] == ["inputs as they are", "mapped", "real (floor)"]
    assert read.texts["h1"] == ["noto → moons"]
    told = "8 held-out samples. 6 of 8 lines arrived. 24 network evaluations a line. ± is the standard error."
    assert read.texts["p"][1] == f"{told} The floor is what real samples score."
    bare = report()
    for scores in bare["maps"].values():
        scores.pop("kid", None)
    assert "±" not in page.page(bare, pictures={})  # what is not shown is not explained
    assert "trained for 8 min" in read.texts["p"][0]


def test_losses_are_laid_out_in_closed_form():
    log = [{"step": k, "loss": math.exp(-k)} for k in (0, 1, 2, 4)]
    log += [
        {"step": 5, "loss": None},
        {"step": 5, "changed": {"steps": [5, 6]}},
        {"step": 6, "loss": math.inf},
    ]
    got = page.curve(log, 400.0, 100.0)
    assert got is not None
    assert got.log  # e^4 is more than five
    np.testing.assert_allclose(got.points, [(0, 0), (100, 25), (200, 50), (400, 100)], atol=1e-9)  # roundings
    assert (got.steps, got.losses) == ((0, 4), (1.0, math.exp(-4)))
    assert page.curve(log[:1], 400.0, 100.0) is None
    flat = page.curve([{"step": 3, "loss": 2.0}, {"step": 4, "loss": 2.0}], 10.0, 10.0)
    assert flat is not None
    assert not flat.log
    assert flat.points == [(0.0, 0.0), (10.0, 0.0)]


def test_losses_after_the_step_of_the_report_are_not_drawn():
    log = [{"step": step, "loss": 1.0 / step} for step in (2, 4, 10, 12, 400)]
    read = Reader(page.page(report(), pictures={}, log=log))
    assert len(read.all("polyline")[0]["points"].split()) == 3
    assert "From step 2 to 10, between 0.1 and 0.5" in " ".join(read.texts["figcaption"])


def test_a_map_that_is_missing_is_left_out():
    known = report("noise", "digits")
    del known["maps"]["digits -> noise"]
    assert Reader(page.page(known, pictures={})).texts["h2"] == ["noise → digits"]
