"""How large what a stranger gives may be. Nothing here imports torch."""

MAX_PARAMETERS = 2**30
"""So many numbers (weights and the rest of its state) a model may have unless its user allows more."""

CONFIG_BYTES = 8 * 2**20
CONFIG_LISTS = 3 * 10**5
HEADER_BYTES = 8 * 2**20
TENSORS = 2**16
DOMAINS = 100
CHANNELS = 2**17
"""Of a model folder: bytes, lists and mappings of config.json, bytes of the weights' header, tensors, domains, a domain's
channels."""
