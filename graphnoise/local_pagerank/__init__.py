"""Approximate personalised PageRank by pushing residuals, at a cost independent of the graph.

The walk is the standard one: at each step it returns to a seed with probability ``teleport`` and
otherwise moves to a neighbour, so that the exact vector is

    p = teleport (I - (1 - teleport) P)^-1 s,   P = A D^-1,   s_i = d_i / sum of d over the seeds

``teleport`` is `alpha` of PyG's `get_ppr`, and one minus that of networkx and scikit-network. The
lazy walk of Andersen, Chung and Lang, which LocalGraphClustering uses, stays where it is half of
the time: its `alpha` is the same as ``teleport = 2 alpha / (1 + alpha)`` here.

A push keeps ``p + teleport (I - (1 - teleport) P)^-1 r`` equal to the exact vector and ``sum p +
sum r`` equal to 1. It ends when every ``r_i < epsilon d_i``; then ``0 <= exact p_i - p_i <= epsilon
d_i``, and the nodes that ever pushed have a volume of at most ``1 / (teleport epsilon)``.

Source: Andersen, Chung, Lang, Local graph partitioning using PageRank vectors, FOCS 2006.
"""
