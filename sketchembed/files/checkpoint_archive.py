"""A training checkpoint looked through before it is loaded: a zip of tensors and one pickle of plain values.

``torch.load(weights_only=True)`` runs nothing of a stranger's, but still does what it is told: it unpacks
members of any size, makes a ``bytearray`` of as many gigabytes as a pickle of twenty bytes says, and objects
by the million. So the sizes are held against the file's own first, and the pickle against what a checkpoint
holds.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path

PICKLE_LIMIT = 16 << 20
"""Of the pickle, in bytes; that of the paper's model with its optimizer has some hundred thousand."""
OBJECTS_LIMIT = 2_000_000
"""Opcodes of the pickle, each of which makes one small object at most."""
_NAMES = re.compile(
    r"collections (OrderedDict|Counter)|_codecs encode|torch (Size|device|\w+Storage|[a-z]+\d*(_\w+)?)"
    r"|torch\._utils (_rebuild_tensor_v2|_rebuild_parameter)|torch\.storage UntypedStorage"
    r"|__builtin__ (set|complex)"
)
"""What a pickle may name: tensors, their types and storages, and containers."""


def check_archive(path: Path) -> None:
    """Check that a checkpoint is whole, no larger than its file, and of tensors and plain values alone.

    Args:
        path: of the checkpoint.

    Raises:
        ValueError: if not; and whatever a damaged zip raises.
    """
    if not path.is_file():
        raise ValueError("no regular file")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("a zip whose content is packed")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("a zip that says it holds more than it does")
        names = [entry.filename for entry in entries]
        pickles = [name for name in names if name.endswith(".pkl")]
        if len(pickles) != 1 or len(set(names)) < len(names):
            raise ValueError("a zip without one single pickle")
        if archive.getinfo(pickles[0]).file_size > PICKLE_LIMIT:
            raise ValueError(f"a pickle of more than {PICKLE_LIMIT:,} bytes")
        content = archive.read(pickles[0])
        # PyTorch reads past damage within a tensor; the checksums that it wrote are there.
        if (broken := archive.testzip()) is not None:
            raise ValueError(f"'{broken}' differs from its checksum")
    for number, (code, argument, _) in enumerate(pickletools.genops(content)):
        if code.name == "GLOBAL" and not _NAMES.fullmatch(str(argument)):
            raise ValueError(f"a pickle that names {ascii(argument)[:60]}")
        if number > OBJECTS_LIMIT:
            raise ValueError(f"a pickle of more than {OBJECTS_LIMIT:,} steps")
