"""What the numbers of a cluster say, in words: for the terminal and for the page."""

from math import isfinite

from graphnoise.local_clusters.cluster import Cluster

STOPS = {
    "max_volume": "the volume allowed (max_volume) was used up",
    "max_edges": "the edge visits allowed (max_edges) were used up",
    "timeout": "the time allowed (timeout) was used up",
}


def certificate_sentence(cluster: Cluster) -> str:
    """How exact the answer is, in one sentence that a certificate proves."""
    proof = cluster.certificate
    if proof.kind == "pagerank":
        return (
            "The residual of every node is at most"
            f" {number(proof.excess)} of its degree, and so is the error of every score."
        )
    sentence = (
        f"Every node keeps to its capacity within {number(100 * proof.excess)} %, and nodes that"
        f" passed mass on fill theirs to within {number(100 * proof.slack)} %; the exact answer"
        " is the one that does both exactly."
    )
    if proof.negative > 0:
        sentence += f" One score is {number(-proof.negative)}, where none may be negative."
    return sentence


def certificate_short(cluster: Cluster) -> str:
    """The same for a line of a table."""
    proof = cluster.certificate
    if proof.kind == "pagerank":
        return f"residual <= {number(proof.excess)} of the degree"
    return (
        f"capacity kept to {number(100 * proof.excess)} %, filled to {number(100 * proof.slack)} %"
    )


def convergence(cluster: Cluster) -> str:
    """Whether the run ended by itself, and if not, why."""
    if cluster.converged:
        return "yes"
    why = STOPS.get(cluster.stopped_by, cluster.stopped_by or "its tolerance was not reached")
    return f"no: {why}; the best so far"


def made_by(cluster: Cluster) -> str:
    """Method, settings and rounding in one line."""
    settings = ", ".join(f"{name} {value}" for name, value in cluster.settings.items())
    return f"{cluster.method}{f' ({settings})' if settings else ''}, rounded by {cluster.rounding}"


def spent(cluster: Cluster) -> str:
    """The mass, or "" where the method has none to choose."""
    return "" if cluster.certificate.kind == "pagerank" else number(cluster.mass)


def number(value: float) -> str:
    """A number with three digits that mean something, whole where it is large."""
    if not isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    if value == int(value):
        return str(int(value))
    return f"{value:.3g}"
