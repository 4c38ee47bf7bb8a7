"""The authors' checkpoints: import into our networks.

| file | what |
|---|---|
| checkpoint.py | reading a .pth, .pt or .pth.tar without executing anything in it |
| names.py | which of the authors' names belongs to which of ours, per family of networks, as rules |
| importing.py | applying the rules, strictly |
"""

from retrain.authors.checkpoint import read_checkpoint
from retrain.authors.importing import authors_keys, import_authors

__all__ = ["authors_keys", "import_authors", "read_checkpoint"]
