"""What mkdocs.yml needs besides its settings: the repository's files as pages, and the reference of the stable modules.

Every file keeps its path, so that links between pages are the same in the repository and on the site.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ("docs/*.png", "docs/*.svg", "docs/page/*.webp")
PAGES = ("*.md", "docs/*.md", *PICTURES, "plugins/*/README.md", "plugins/*/data/README.md", "benchmarks/README.md")
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))
STABLE = [
    "i2i",
    "i2i.experiment",
    "i2i_cyclegan.experiment",
    "i2i_pix2pix.experiment",
    "i2i_spade.experiment",
    "i2i_unit.experiment",
    "i2i.translation.translator.Translator",
    "i2i.protocols",
    "i2i.verdicts",
    "i2i.registry",
    "i2i.hooks",
    "i2i.errors",
    "i2i.recipe",
    "i2i.data",
    "i2i.adapters",
    "i2i.objectives",
    "i2i.augmentation",
    "i2i.layers",
    "i2i.convolutions",
    "i2i.init",
    "i2i.labels",
    "i2i.metrics",
    "i2i.published",
    "i2i.hub",
    "i2i.allocator",
    "i2i.testing",
]
"""What stays for strangers: modules, and the class that ``i2i.load`` returns. Each has a page in the reference."""

_OTHERS = {"forward": "torch", "model_config": "pydantic"}
"""Members whose meaning others document."""

_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
_LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".py": "python", ".toml": "toml", ".ipynb": "json"}
_FETCHED = re.compile(r'<(?:script|img|iframe|video)[^>]* src="(?:https?:)?//[^"]*|<link[^>]* href="(?:https?:)?//[^"]*')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the reference to the navigation."""
    config.nav.append({"Python": [{module: _reference(module)} for module in STABLE]})
    return config


def on_pre_build(**_: Any) -> None:
    """Refuse a reference with gaps."""
    if gaps := undocumented():
        raise PluginError(f"public names without a docstring: {', '.join(gaps)}")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's files; the pages of the repository; a page for each file or folder that one of them links to."""
    found = Files([file for file in files if file.src_dir != config.docs_dir])
    for path in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        found.append(File(path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls))
    for module in STABLE:
        found.append(File.generated(config, _reference(module), content=f"# {module}\n\n::: {module}\n"))
    waiting = [path.relative_to(ROOT).as_posix() for path in NOTEBOOKS]
    waiting += [target for file in found.documentation_pages() for target in _linked(file.src_uri, file.content_string)]
    while waiting:
        path = waiting.pop()
        if found.get_file_from_path(_page(path)) is None:
            text = _shown(path)
            found.append(File.generated(config, _page(path), content=text))
            waiting += _linked(_page(path), text)
    return found


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links to files and folders of the repository lead to their pages."""

    def to_page(link: re.Match[str]) -> str:
        path = _target(page.file.src_uri, link)
        return link[0] if path is None else f"{link[1]}{relpath(_page(path), f'{page.file.src_uri}/..')}{link[3]}"

    return _LINK.sub(to_page, markdown)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse a page that fetches something from another host."""
    if fetched := _FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri}: the page fetches from another host: {fetched[0]}")
    return output


class InMarkdown(griffe.Extension):
    """Docstrings refer to names as :func:`name`; Markdown has `name`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)


def undocumented(names: Iterable[str] = STABLE, places: Iterable[Path] = (ROOT / "core", ROOT / "plugins")) -> list[str]:
    """The public names within those that nothing documents, found without importing anything."""
    loader = griffe.GriffeLoader(search_paths=list(places), allow_inspection=False)
    for package in {name.partition(".")[0] for name in names}:
        loader.load(package)
    loader.resolve_aliases(implicit=True, external=False)
    return sorted({text for name in names for text in _undocumented(loader.modules_collection[name])})


def _undocumented(part: griffe.Object | griffe.Alias) -> Iterator[str]:
    """The names from here on that have no docstring of their own and are not told about above."""
    part = part.final_target if isinstance(part, griffe.Alias) else part
    if not part.has_docstring and not _told_above(part):
        yield part.path
    for name, member in part.members.items():
        if member.is_public and not member.is_module and not name.startswith("__") and name not in _OTHERS:
            yield from _undocumented(member)


def _told_above(part: griffe.Object) -> bool:
    """Whether the class of a member names it as code, or a class that it inherits from documents it."""
    if not isinstance(owner := part.parent, griffe.Class):
        return False
    inherited = [base.members[part.name] for base in owner.mro() if part.name in base.members]
    told = owner.docstring.value if owner.docstring else ""
    return any(member.has_docstring for member in inherited) or re.search(rf"`{part.name}\b", told) is not None


def _reference(module: str) -> str:
    return f"docs/api/{module}.md"


def _linked(page: str, text: str) -> Iterator[str]:
    """The files and folders without a page of their own that a page links to."""
    return (path for link in _LINK.finditer(text) if (path := _target(page, link)) is not None)


def _target(page: str, link: re.Match[str]) -> str | None:
    """The path of a link in the repository, if it is a folder or a file that needs a page."""
    path = normpath(f"{page}/../{link[2]}")
    file = ROOT / path
    needs_page = not path.startswith("..") and (file.is_dir() or (file.is_file() and file.suffix in _LANGUAGES))
    return path if needs_page else None


def _page(path: str) -> str:
    """The page of a file or a folder: the folder's README, if it has one."""
    readme = f"{path}/README.md"
    return readme if (ROOT / path).is_dir() else f"{path}.md"


def _shown(path: str) -> str:
    """A page with a file's text, a notebook's cells, or what a folder holds."""
    head, file = f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n", ROOT / path
    if file.suffix == ".ipynb":
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        texts = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
        return "\n\n".join(text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in texts)
    if file.is_file():
        return f"{head}````{_LANGUAGES[file.suffix]}\n{file.read_text(encoding='utf-8')}````\n"
    names = (part.name for part in sorted(file.iterdir()) if part.is_dir() or part.suffix in _LANGUAGES)
    return head + "".join(f"- [{name}]({name})\n" for name in names if name != "__pycache__")
