"""Tools that do what ours does, measured on the same networks and inputs: `python -m tests.bench.peers`.

One file a peer, all with the interface of `interface.py`; each runs in a virtual environment of its own, which
`environments.py` makes on request. `catalogue.py` lists them with what they need.
"""
