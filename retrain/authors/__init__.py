"""The authors' checkpoints: import into our networks.

names.py: which of the authors' names belongs to which of ours, as rules; importing.py: reads files, applies the rules.
"""

from retrain.authors.importing import authors_keys, import_authors, read_checkpoint

__all__ = ["authors_keys", "import_authors", "read_checkpoint"]
