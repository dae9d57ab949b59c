"""The graph of delegations, and its questions: a projection of the ledger as of an instant.

The law of this folder: pure, over `chain.history.History`. A delegation has one parent, so what stands is a forest,
and what a graph library would have to search is walked. networkx is imported by `chain.graph.project` alone.
"""
