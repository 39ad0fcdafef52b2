"""Graphs by name or path. A new data set is one loader and one line in `DATASETS`."""

from pathlib import Path
from typing import TYPE_CHECKING

from graphnoise.datasets.places import Places
from labelnoise.registry import Entry, Registry

if TYPE_CHECKING:
    from graphnoise.graph import LabelledGraph

_PLANETOID = "graphnoise.datasets.planetoid:load_planetoid"
_ARCHIVE = "graphnoise.datasets.npz_archives:load_archive"
_YANG = "Yang et al., ICML 2016"
_SHCHUR = "Shchur et al., arXiv 1811.05868"
_BOJCHEVSKI = "Bojchevski and Günnemann, ICLR 2018"

# a target is called with (name, places, seed)
DATASETS = Registry(
    "data set",
    {
        "cora": Entry(_PLANETOID, "2,708 papers, 7 topics; public split", _YANG),
        "citeseer": Entry(_PLANETOID, "3,327 papers, 6 topics; public split", _YANG),
        "pubmed": Entry(_PLANETOID, "19,717 papers, 3 topics; public split", _YANG),
        "amazon-photo": Entry(_ARCHIVE, "7,650 products bought together, 8 categories", _SHCHUR),
        "amazon-computers": Entry(_ARCHIVE, "13,752 products, 10 categories", _SHCHUR),
        "coauthor-cs": Entry(_ARCHIVE, "18,333 authors, 15 fields of study", _SHCHUR),
        "coauthor-physics": Entry(_ARCHIVE, "34,493 authors, 5 fields of study", _SHCHUR),
        "corafull": Entry(_ARCHIVE, "19,793 papers, 70 topics; ERASE's split", _BOJCHEVSKI),
        "citeseer-full": Entry(_ARCHIVE, "4,230 papers, 6 topics", _BOJCHEVSKI),
        "dblp": Entry(_ARCHIVE, "17,716 papers, 4 topics", _BOJCHEVSKI),
        "wikics": Entry(
            "graphnoise.datasets.wikics:load_wikics",
            "11,701 articles on computer science, 10 branches; 20 published splits",
            "Mernyei and Cangea, arXiv 2007.02901",
        ),
        "ogbn-arxiv": Entry(
            "graphnoise.datasets.ogbn_arxiv:load_ogbn_arxiv",
            "169,343 papers, 40 subject areas; official split by year",
            "Hu et al., NeurIPS 2020",
        ),
        "cora-texts": Entry(
            "graphnoise.datasets.cora_texts:load_cora_texts",
            "Cora with titles and abstracts, embedded by MiniLM; cannot be downloaded",
            "McCallum et al., 2000; Sen et al., 2008",
        ),
        "python-modules": Entry(
            "graphnoise.datasets.python_modules:load_python_modules",
            "about 3,000 installed Python modules, 12 packages; needs neither data nor network",
            "this project",
        ),
    },
)


def load_graph(
    name_or_path: str | Path,
    *,
    root: Path | str | None = None,
    seed: int = 0,
    labels_required: bool = True,
) -> "LabelledGraph":
    """Load a data set of `DATASETS`, or the caller's own graph from a folder or file.

    A named set is looked for under `root`, in the folder named by ``NOISE_DATA``, in
    ``../shared/data`` beside a checkout of this project, and in the user's cache; otherwise it is
    downloaded into that cache. Nothing is ever written to the first three. The given labels are
    the clean ones (`graphnoise.noise.with_noise` corrupts them) and the truth is known.

    Args:
        name_or_path: A name (case does not matter), or a path: a folder with ``edges`` and
            ``nodes`` tables (`graphnoise.datasets.tables`), an ``.npz`` or ``.safetensors`` file
            (`graphnoise.datasets.files`). A name wins over a file called the same.
        root: Folder to look in first; files may lie there as PyG's loaders keep them.
        seed: Of splits that are drawn; published splits ignore it.
        labels_required: False takes a path to a graph that is still to be labelled.

    Raises:
        ValueError: No such data set or path, or a file that cannot be right.
        FileNotFoundError: A known data set that is neither here nor can be downloaded.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if name.lower() not in set(DATASETS):
        if path.exists():
            from graphnoise.datasets.files import load_path

            return load_path(path, seed=seed, labels_required=labels_required)
        if path.suffix or len(path.parts) > 1:
            raise ValueError(f"no file or folder {name!r}, and no data set of that name")
    loader = DATASETS.load(name.lower())
    places = Places(None if root is None else Path(root))
    graph: LabelledGraph = loader(name.lower(), places, seed)
    return graph
