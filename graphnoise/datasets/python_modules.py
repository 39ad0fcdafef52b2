"""A real text-attributed graph that is always at hand: the installed Python modules."""

import ast
import hashlib
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import metadata, packages_distributions
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.datasets.files import load_file, save_graph
from graphnoise.datasets.places import Places, cache_folder
from graphnoise.datasets.splits import fixed_counts_split
from graphnoise.graph import UNLABELLED, LabelledGraph, graph_from_arrays

# a change of anything below that changes the graph must change this
VERSION = 2
MIN_MODULES, MAX_CLASSES, MAX_PER_CLASS = 40, 12, 250
MAX_BYTES = 200_000  # larger files are tables written out as code
N_WORDS, MIN_DOCUMENTS = 2000, 3
TEXT_LENGTH = 500
MOST_NAMES = 40  # defined names that stand in for a missing docstring
LEFT_OUT = {"test", "tests", "_vendor", "vendor", "vendored", "_vendored", "__pycache__"}
OURS = {"graphnoise", "labelnoise", "multimodal"}
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True)
class Module:
    """What one source file says.

    Attributes:
        name: Dotted name; a package is named without ``__init__``.
        text: Its docstring; where there is none, the names of the functions and classes it defines.
        words: Lower-case parts of the identifiers and of the docstring.
        imports: Dotted names it imports, made absolute; of an imported attribute both the
            module and the module-like longer name.
    """

    name: str
    text: str
    words: tuple[str, ...]
    imports: tuple[str, ...]


def load_python_modules(name: str, places: Places, seed: int = 0) -> LabelledGraph:
    """The graph of the packages installed here: node = module, edge = import.

    Text is the docstring, or the names a module defines where it has none; the class is the
    top-level package. Features are TF-IDF weights of the words in identifiers and docstring; the
    names of the packages and of what is imported are left out of the words, or they would give the
    label away. The largest `MAX_CLASSES` packages with at least `MIN_MODULES` modules take part,
    with their `MAX_PER_CLASS` shallowest modules.
    The same installation gives the same graph. It is kept in the user's cache.

    Args:
        name: "python-modules".
        places: Not used: nothing is looked for.
        seed: Of the split: 20 per class, 500 (at most a fifth) and 1000.

    Raises:
        ValueError: Fewer than two packages are large enough.
    """
    packages = find_packages(source_folders())
    if len(packages) < 2:
        raise ValueError(
            f"python-modules needs 2 installed packages of at least {MIN_MODULES} modules,"
            f" found {sorted(packages)}"
        )
    graph = _from_cache(packages)
    labels = graph.truth if graph.truth is not None else graph.given
    masks = fixed_counts_split(labels, seed=seed, n_validation=min(500, graph.n_nodes // 5))
    train, validation, test = masks["train"], masks["validation"], masks["test"]
    return replace(
        graph,
        given=np.where(train | validation, labels, UNLABELLED),
        train=train,
        validation=validation,
        test=test,
        # nothing of the split under which the graph was built is left
        notes=tuple(note for note in graph.notes if "isolated" in note),
        class_definitions=tuple(package_summary(name) for name in graph.class_names),
    )


def package_summary(package: str) -> str:
    """What an installed package says of itself in one line; "" where it says nothing."""
    for distribution in _distributions().get(package, ()):
        summary = metadata(distribution).json.get("summary", "")
        if summary:
            return str(summary)
    return ""


@lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def source_folders() -> list[Path]:
    """The standard library and every ``site-packages`` that Python looks into, without repeats."""
    folders = [Path(sysconfig.get_paths()["stdlib"])]
    folders += [Path(entry) for entry in sys.path if entry.endswith(("-packages", "packages"))]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def find_packages(folders: Iterable[Path]) -> dict[str, dict[str, Path]]:
    """Package -> dotted module name -> file, for the packages that take part, largest first."""
    found: dict[str, dict[str, Path]] = {}
    for folder in folders:
        for package in sorted(folder.iterdir()):
            usable = package.name not in LEFT_OUT | OURS and package.name not in found
            if usable and (package / "__init__.py").is_file():
                modules = dict(_modules_below(package))
                if len(modules) >= MIN_MODULES:
                    found[package.name] = modules
    largest = sorted(found, key=lambda name: (-len(found[name]), name))[:MAX_CLASSES]
    return {name: _shallowest(found[name]) for name in largest}


def read_module(name: str, path: Path) -> Module | None:
    """Parse one file; None where it is no Python that this interpreter can read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # others' invalid escapes are not our concern
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return None
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    text = ast.get_docstring(tree) or ""
    identifiers, imports, bound, defined = list[str](), list[str](), set[str](), list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.extend(_imported(node, package))
            bound.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            identifiers.append(node.name)
            defined.append(node.name)
        elif isinstance(node, ast.Attribute):
            identifiers.append(node.attr)
        elif isinstance(node, ast.arg):
            identifiers.append(node.arg)
        elif isinstance(node, ast.Name):
            identifiers.append(node.id)
    own = [identifier for identifier in identifiers if identifier not in bound]
    words = [word for part in (*own, *text.split()) for word in _split_words(part)]
    return Module(name, text or _names_as_text(defined), tuple(words), tuple(imports))


def _names_as_text(defined: list[str]) -> str:
    """What a module without a docstring can be known by; "" where it defines nothing."""
    names = [name for name in dict.fromkeys(defined) if not name.startswith("__")]
    return f"Defines {', '.join(names[:MOST_NAMES])}." if names else ""


def build_graph(packages: dict[str, dict[str, Path]]) -> LabelledGraph:
    """Graph of the modules of `packages`; class k is the k-th package in alphabetical order."""
    class_names = tuple(sorted(packages))
    modules, labels = [], []
    for label, package in enumerate(class_names):
        for name, path in sorted(packages[package].items()):
            module = read_module(name, path)
            if module is not None:
                modules.append(module)
                labels.append(label)
    return graph_from_arrays(
        _edges(modules),
        _word_weights(modules, class_names),
        np.array(labels),
        truth=labels,
        class_names=class_names,
        node_names=np.array([module.name for module in modules]),
        texts=tuple(module.text[:TEXT_LENGTH] for module in modules),
        name="python-modules",
    )


@lru_cache(maxsize=1 << 16)
def _split_words(identifier: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in WORD.findall(identifier))


def _from_cache(packages: dict[str, dict[str, Path]]) -> LabelledGraph:
    cached = cache_folder() / "python-modules" / f"{_fingerprint(packages)}.npz"
    if cached.is_file():
        return load_file(cached)
    graph = build_graph(packages)
    with suppress(OSError):  # where the cache cannot be written, the next run builds it again
        cached.parent.mkdir(parents=True, exist_ok=True)
        save_graph(graph, cached)
    return graph


def _modules_below(package: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        importable = all(part.isidentifier() for part in parts)
        if importable and not LEFT_OUT & set(parts) and 0 < path.stat().st_size <= MAX_BYTES:
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _shallowest(modules: dict[str, Path]) -> dict[str, Path]:
    # the outer modules of a package are the ones the others import
    chosen = sorted(modules, key=lambda name: (name.count("."), name))[:MAX_PER_CLASS]
    return {name: modules[name] for name in chosen}


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    parents = package.split(".")
    kept = parents[: len(parents) - node.level + 1] if node.level else []
    base = ".".join([*kept, *([node.module] if node.module else [])])
    yield from (f"{base}.{alias.name}" for alias in node.names)


def _edges(modules: list[Module]) -> NDArray[np.int64]:
    position = {module.name: i for i, module in enumerate(modules)}
    ends = set()
    for i, module in enumerate(modules):
        for name in module.imports:
            # `from a import b` names the module a.b, or the attribute b of the module a
            target = position.get(name, position.get(name.rpartition(".")[0]))
            if target is not None and target != i:
                ends.add((i, target))
    return np.array(sorted(ends), dtype=np.int64).reshape(-1, 2).T


def visible_words(modules: list[Module], class_names: tuple[str, ...]) -> list[list[str]]:
    """The words of each module that do not name a package, the module itself or an import."""
    telling = {word for name in class_names for word in (name.lower(), *_split_words(name))}
    documents = []
    for module in modules:
        hidden = telling.union(_split_words(module.name))
        documents.append([word for word in module.words if len(word) > 2 and word not in hidden])
    return documents


def _word_weights(modules: list[Module], class_names: tuple[str, ...]) -> sparse.csr_array:
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(
        analyzer=list, max_features=N_WORDS, min_df=MIN_DOCUMENTS, sublinear_tf=True
    )
    return sparse.csr_array(weights.fit_transform(visible_words(modules, class_names)))


def _fingerprint(packages: dict[str, dict[str, Path]]) -> str:
    digest = hashlib.sha256(f"{VERSION} {sys.version_info[:2]}".encode())
    for modules in packages.values():
        for name, path in modules.items():
            digest.update(f"{name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]
