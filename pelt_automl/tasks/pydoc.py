"""Callables with their signatures and summaries, harvested from the sources of libraries that are installed with us.

The sources are parsed, never imported: importing torch and pandas would take longer than the parsing. No text is kept in this
repository; the harvest is cached in the home folder, by the versions of the libraries. The same versions give the same harvest.
"""

import ast
import hashlib
import inspect
import json
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path

from pelt_automl.durable import write_text
from pelt_automl.home import home

FORMAT = 1
"""Goes up when the harvest is made in another way, so that an old cache isn't read."""
PER_LIBRARY = 640
"""Callables that are taken from a library."""
PER_MODULE = 12
"""Callables of one module at most: the harvest should show many modules."""
LARGEST_FILE = 120_000
"""Larger sources (in bytes) are passed over: they are slow to parse, and many are generated."""


@dataclass(frozen=True)
class Callable:
    """A public function, method or class with a summary."""

    library: str
    module: str
    name: str
    """Qualified inside its module: ``KMeans.fit``."""
    signature: str
    """``(X, y=None, *, copy=True)``: names and defaults, without annotations."""
    summary: str
    """First sentence of the docstring, in plain words."""


LIBRARIES = {
    "numpy": "numpy",
    "pandas": "pandas",
    "python": "",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "torch": "torch",
}
"""Import name by the name of the distribution; ``python`` is the standard library."""

_PASSED_OVER = re.compile(
    r"(^|/)(tests?|testing|_?vendor(ed)?|externals?|site-packages|idlelib|lib2to3|turtledemo|ensurepip|pydoc_data|__pycache__|lib-dynload"
    r"|_?pyinstaller|onnx|_?inductor|_?dynamo|fx|ao|benchmark[s]?|config-.*|f2py|distutils|encodings|array_api_(compat|extra))/"
    r"|(^|/)(test_|conftest|setup|__main__)"
)


def harvest() -> list[Callable]:
    """All callables, `PER_LIBRARY` of each installed library at most, no two with the same summary; from the cache when it is there.

    A cache that can't be read or written is done without.
    """
    versions = library_versions()
    key = hashlib.sha256(json.dumps([FORMAT, PER_LIBRARY, PER_MODULE, versions]).encode()).hexdigest()[:16]
    cache = home() / "cache" / "tasks" / f"pydoc-{key}.jsonl"
    with suppress(OSError, ValueError, TypeError):
        if found := [Callable(**json.loads(line)) for line in cache.read_text(encoding="utf-8").splitlines()]:
            return found
    seen: set[str] = set()
    found = [item for library in versions for item in _of_library(library, seen)]
    with suppress(OSError):  # whole or not at all: two processes may do this at once
        write_text(cache, "".join(json.dumps(asdict(item)) + "\n" for item in found))
    return found


def library_versions() -> dict[str, str]:
    """Version by library, of those that are installed, by name."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name, package in LIBRARIES.items():
        if package and util.find_spec(package) is not None:
            with suppress(metadata.PackageNotFoundError):
                versions[name] = metadata.version(name)
    return dict(sorted(versions.items()))


def _root(library: str) -> Path | None:
    package = LIBRARIES[library]
    if not package:
        return Path(sysconfig.get_path("stdlib"))
    spec = util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _of_library(library: str, seen: set[str]) -> list[Callable]:
    """Callables of one library, its modules in an order that is shuffled by their names, so that the first are a fair sample."""
    root = _root(library)
    if root is None:
        return []
    names = (path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    modules = sorted((n for n in names if not _PASSED_OVER.search(n)), key=lambda n: (hashlib.sha256(n.encode()).hexdigest(), n))
    found = list[Callable]()
    for name in modules:
        if len(found) >= PER_LIBRARY:
            break
        fresh = dict[str, Callable]()
        for item in _of_module(library, root, name):
            key = re.sub(r"\W+", " ", item.summary.lower()).strip()
            if key not in seen and len(fresh) < PER_MODULE:
                fresh.setdefault(key, item)
        seen |= set(fresh)
        found += fresh.values()
    return found[:PER_LIBRARY]


def _of_module(library: str, root: Path, name: str) -> Iterator[Callable]:
    path = root / name
    try:
        if path.stat().st_size > LARGEST_FILE:
            return
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    parts = [*([LIBRARIES[library]] if LIBRARIES[library] else []), *name.removesuffix(".py").removesuffix("/__init__").split("/")]
    module = ".".join(parts)
    for qualified, node, arguments in _definitions(tree.body, ""):
        summary = plain_summary(ast.get_docstring(node, clean=False) or "")
        if summary:
            yield Callable(library, module, qualified, _signature(arguments), summary)


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(body: Sequence[ast.stmt], prefix: str) -> Iterator[tuple[str, _Definition, ast.arguments | None]]:
    """Public functions and classes, and their public methods, with their arguments."""
    for node in body:
        if not isinstance(node, _Definition) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
            yield prefix + node.name, node, init.args if init else None
            if not prefix:
                yield from _definitions(node.body, f"{node.name}.")
        else:
            yield prefix + node.name, node, node.args


def _signature(arguments: ast.arguments | None, most: int = 8) -> str:
    """``(X, y=None, *, copy=True)``, at most `most` arguments, then dots; self and cls say nothing."""
    if arguments is None:
        return "()"
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    shown = [_argument(a.arg, d) for a, d in zip(positional, defaults, strict=True) if a.arg not in ("self", "cls")]
    shown += [f"*{arguments.vararg.arg}"] if arguments.vararg else ["*"] if arguments.kwonlyargs else []
    shown += [_argument(a.arg, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    shown += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    return f"({', '.join(shown[:most] + (['...'] if len(shown) > most else []))})"


def _argument(name: str, default: ast.expr | None) -> str:
    if default is None:
        return name
    value = ast.unparse(default)
    return f"{name}={value if len(value) <= 20 else '...'}"


def plain_summary(docstring: str) -> str:
    """The first sentence of a docstring without markup, or nothing when it is too short, too long or not a sentence."""
    paragraph = " ".join(inspect.cleandoc(docstring).split("\n\n")[0].split())
    text = re.sub(r":[\w:+-]+:`~?\.?([^`<]*?)(\s*<[^`]*>)?`", r"\1", paragraph)
    text = re.sub(r"[`*]+|\\\w+|\$", "", text)
    sentence = re.split(r"(?<=[a-z\])]{2})\.(?:\s|$)", text)[0].strip().rstrip(".")
    words = sentence.split()
    plain = sentence.isascii() and not re.search(r">>>|::|@|https?:|[Dd]eprecated|^\.\.|->|==|[A-Za-z]\(", sentence)
    return sentence if plain and 5 <= len(words) <= 30 and sentence[0].isalpha() else ""
