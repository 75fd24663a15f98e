"""Puts files of the repository that lie outside `docs/` into the site, and makes links between them work there.

`mkdocs.yml` names this file. A link to a file that is on the site leads to its page; a link to another file of the
repository becomes plain text, for a site has no sources; a link to nothing stays, so that ``--strict`` refuses it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/arbiter/README.md": "examples/arbiter.md",
    "examples/client/README.md": "examples/client.md",
    "examples/provider/README.md": "examples/provider.md",
}
"""Pages by their path in the repository, and where they lie on the site."""
PICTURES = "benchmarks/results"
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and the pictures that other pages link to."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    for picture in sorted((ROOT / PICTURES).glob("*.svg")):
        files.append(File.generated(config, f"{PICTURES}/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page's text with links as they are on the site."""
    here = {target: source for source, target in PAGES.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _with_links(part, here, page, files) for part in parts)


def _with_links(text: str, here: str, page: Page, files: Files) -> str:
    def on_site(match: re.Match[str]) -> str:
        label, link = match.groups()
        path, hash_mark, anchor = link.partition("#")
        if not path or "://" in path:
            return match[0]
        source = posixpath.normpath(posixpath.join(posixpath.dirname(here), path))
        target = PAGES.get(source, source.removeprefix("docs/"))
        if files.get_file_from_path(target) is not None:
            start = posixpath.dirname(page.file.src_uri) or "."
            return f"[{label}]({posixpath.relpath(target, start)}{hash_mark}{anchor})"
        return label if (ROOT / source).exists() else match[0]

    return _LINK.sub(on_site, text)
