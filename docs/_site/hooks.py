"""What mkdocs.yml adds to the pages: files from outside docs/, the lower modules' names, commands, options.

A page links to pictures and results of experiments by their place in the repository, so that the link works there too. The
site has these files at the same place below its root. Of a `<picture>` the site shows what suits its own palette; a click
shows it at its full size.
"""

import contextlib
import functools
import importlib
import io
import json
import os
import pkgutil
import posixpath
import re
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\(|src=\")((?:\.\./)+[^)#\"\s]+)")
PICTURE = re.compile(r'<picture><source [^>]*srcset="([^"]*)"><img alt="([^"]*)" src="([^"]*)"></picture>')
BOTH = r"[![\2](\3#only-light)](\3)[![\2](\1#only-dark)](\1)"
LISTED = re.compile(r"^::: (efm_jax[\w.]*)", re.MULTILINE)
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}


def outside(page: str, link: str) -> str | None:
    """The path in the repository that a link of a page leads to; None if it stays within docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return None if path.startswith("docs/") else path


def listed_modules() -> list[str]:
    """The modules that written pages list."""
    pages = sorted((DOCS / "reference").rglob("*.md"))
    return [name for page in pages for name in LISTED.findall(page.read_text())]


def lower_modules() -> dict[str, list[str]]:
    """Public names that no written page lists, by module: the parts that listed modules are made of."""
    import efm_jax

    listed = listed_modules()
    known = {id(value) for name in listed for value in _public(importlib.import_module(name)).values()}
    found = {}
    for module in pkgutil.walk_packages(efm_jax.__path__, "efm_jax."):
        if any(part.startswith("_") for part in module.name.split(".")) or module.name in listed:
            continue
        public = _public(importlib.import_module(module.name))
        names = [
            name
            for name, value in public.items()
            if id(value) not in known and getattr(value, "__module__", module.name) == module.name
        ]
        if names:
            found[module.name] = names
    return found


def _public(module: Any) -> dict[str, Any]:
    return {name: getattr(module, name) for name in module.__all__}


def lower_page() -> str:
    """The page of the lower modules."""
    text = "# Parts of the modules\n\nPublic names of single files. Most programs need none of them.\n"
    for module, names in lower_modules().items():
        text += f"\n::: {module}\n    options:\n      heading_level: 2\n      members: {json.dumps(names)}\n"
    return text


COMMANDS = {
    "train": ["train", "digits-quick"],
    "suggest": ["suggest", "digits:3", "digits:2"],
    **{
        name: [name]
        for name in (
            "resume",
            "reflow",
            "export",
            "translate",
            "generate",
            "evaluate",
            "compare",
            "demo",
            "doctor",
        )
    },
}


def command_line() -> str:
    """The page of commands: what `efm COMMAND --help` prints."""
    from efm_jax import cli

    text = "# Command line\n\nThis is what `efm COMMAND --help` prints. See also: [configuration](configuration.md).\n"
    for name, words in COMMANDS.items():
        shown = _printed(cli.main, [*words, "--help"])
        text += f"\n## efm {name}\n\n```text\n{shown}\n```\n"
    return text


def _printed(command: Any, words: list[str]) -> str:
    os.environ |= {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        command(words)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    return "\n".join(line.rstrip() for line in plain.strip().splitlines())


def notebooks() -> dict[str, str]:
    """The tutorials as notebooks to download."""
    import jupytext

    programs = sorted((DOCS / "tutorials").glob("*.py"))
    return {
        f"tutorials/{path.stem}.ipynb": jupytext.writes(jupytext.read(path), fmt="ipynb") for path in programs
    }


@functools.cache
def generated() -> dict[str, str]:
    """Pages that follow from the code, by their place in docs/."""
    return {
        "reference/api/parts.md": lower_page(),
        "reference/command_line.md": command_line(),
        **notebooks(),
    }


def undocumented(inventory: str) -> list[str]:
    """Public names that the site's inventory of names lacks."""
    there = {line.split(" ", 1)[0] for line in inventory.splitlines()}
    names = [
        f"{module}.{name}" for module in listed_modules() for name in importlib.import_module(module).__all__
    ]
    names += [f"{module}.{name}" for module, parts in lower_modules().items() for name in parts]
    return sorted(name for name in names if name not in there)


def on_post_build(config: Any) -> None:
    """Stop where a public name is on no page."""
    from mkdocs.exceptions import PluginError

    lines = (Path(config["site_dir"]) / "objects.inv").read_bytes().split(b"\n", 4)
    missing = undocumented(zlib.decompress(lines[4]).decode())
    if missing:
        raise PluginError(f"public names on no page: {', '.join(missing)}")


def on_files(files: Any, config: Any) -> Any:
    """Add generated pages, and every file of the repository that a page links to."""
    from mkdocs.structure.files import File

    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    taken: set[str] = set()
    for page in files.documentation_pages():
        if page.src_uri.endswith(".md"):
            links = LINK.findall(PICTURE.sub(BOTH, page.content_string))
            taken |= {path for _, link in links if (path := outside(page.src_uri, link))}
    for path in sorted(taken - ROOT_PAGES.keys()):
        # a file that is not there is named by mkdocs, as the target of a broken link
        if (ROOT / path).is_file():
            place = path.replace(".md", ".txt")
            files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to files outside docs/ lead to their copies in the site, and pictures follow its palette."""
    here = posixpath.dirname(page.file.src_uri)

    def moved(found: re.Match) -> str:
        path = outside(page.file.src_uri, found[2])
        if path is None:
            return found[0]
        path = ROOT_PAGES.get(path, path.replace(".md", ".txt"))
        return found[1] + posixpath.relpath(path, here or ".")

    return LINK.sub(moved, PICTURE.sub(BOTH, markdown))
