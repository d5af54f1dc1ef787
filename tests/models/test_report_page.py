"""The page of a report in a real browser: it shows its pictures, logs no error, asks the network for nothing."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from efm_jax import cli
from efm_jax.models import reports

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="there is no chromium")]

PROBE = """
<script>
addEventListener("load", () => {
  const found = {
    images: [...document.images].map(image => [image.naturalWidth, image.naturalHeight]),
    fetched: performance.getEntriesByType("resource").map(e => e.name).filter(name => !name.startsWith("data:")),
    wider: document.documentElement.scrollWidth - innerWidth,
    paper: getComputedStyle(document.body).backgroundColor,
  };
  document.title = JSON.stringify(found);
});
</script>
"""


def opened(page, tmp_path, *options: str) -> tuple[dict, str]:
    """What a script put into the page finds, and what the browser logs of the page as it is."""
    text = page.read_text(encoding="utf-8")
    loose = re.sub(r"script-src 'sha256-[^']*'", "script-src 'unsafe-inline'", text, count=1)
    assert loose != text
    probed = tmp_path / "probed.html"
    probed.write_text(loose.replace("<style>", PROBE + "<style>", 1), encoding="utf-8")
    common = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}/user",
    ]
    command = [*common, "--virtual-time-budget=5000", *options, "--dump-dom"]
    dom = subprocess.run([*command, probed.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    plain = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(\{.*\})</title>", dom.stdout)
    assert found is not None, dom.stdout[:500]
    said = "\n".join(line for line in plain.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(found[1]), said


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Report folders of a toy, and of two folders of pictures with a hostile name."""
    base = tmp_path_factory.mktemp("pages")
    toy = base / "toy"
    reports.evaluate("moons", output=toy, samples=200, round_trip=0)
    rng = np.random.default_rng(0)
    sides = [base / "<img src=x onerror=alert(1)>", base / "b"]
    for side in sides:
        side.mkdir()
        for i in range(24):
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(side / f"{i}.png")
    run = ["train", "translate-quick", "--run", str(base / "run"), "--data.source", f"folder:{sides[0]}"]
    run += [
        "--data.target",
        f"folder:{sides[1]}",
        "--data.size",
        "8",
        "--steps",
        "8",
        "--log-every",
        "2",
        "--no-progress",
    ]
    run += [
        "--network.width",
        "4",
        "--network.multipliers",
        "1",
        "--network.attention",
        "8",
        "--recipe.charges",
        "4",
    ]
    run += [
        "--recipe.num-points",
        "4",
        "--sampling.samples",
        "8",
        "--sampling.steps",
        "2",
        "--optimizer.warmup",
        "2",
    ]
    cli.main(run)
    return {"toy": (toy, 4), "pictures": (base / "run", 6)}


@pytest.mark.parametrize("name", ["toy", "pictures"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 500])
def test_the_page_shows_its_pictures_and_fetches_nothing(folders, tmp_path, name, scheme, width):
    folder, count = folders[name]
    options = (
        f"--blink-settings=preferredColorScheme={['dark', 'light'].index(scheme)}",
        f"--window-size={width},900",
    )
    found, said = opened(folder / "report.html", tmp_path, *options)
    assert len(found["images"]) == count
    assert min(min(size) for size in found["images"]) > 0  # decoded
    assert found["fetched"] == []
    assert found["wider"] <= 0  # nothing to scroll sideways
    assert found["paper"] == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 28)")
    assert said == ""


def test_a_request_would_be_seen(folders, tmp_path):
    page = folders["toy"][0] / "report.html"
    worse = tmp_path / "worse.html"
    text = page.read_text(encoding="utf-8").replace(
        "<h1>", '<img src="https://example.org/x.png"><script>1</script><h1>'
    )
    worse.write_text(text, encoding="utf-8")
    found, said = opened(worse, tmp_path)
    assert min(min(size) for size in found["images"]) == 0
    assert "Content Security Policy" in said
