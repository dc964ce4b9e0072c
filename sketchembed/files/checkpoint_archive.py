"""Checks of a training checkpoint before it is loaded: a zip of tensors and one pickle of plain values.

``torch.load(weights_only=True)`` executes no code, but it unpacks members of any size, and a pickle of
twenty bytes can make it allocate gigabytes (``bytearray`` of a number). Sizes and pickled names are therefore
checked first.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path

PICKLE_LIMIT = 2 << 20  # bytes, each of which makes at most one object; the paper's model takes 0.2 MB
_NAMES = re.compile(
    r"collections (OrderedDict|Counter)|_codecs encode|torch (Size|device|\w+Storage|[a-z]+\d*(_\w+)?)"
    r"|torch\._utils (_rebuild_tensor_v2|_rebuild_parameter)|torch\.storage UntypedStorage"
    r"|__builtin__ (set|complex)"
)
"""Names that a pickle may contain: tensors, their types and storages, and containers."""


def check_archive(path: Path) -> None:
    """Raise an error unless a checkpoint is complete, no larger than its file, and made of plain values."""
    if not path.is_file():
        raise ValueError("not a regular file")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("a zip with compressed content")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("a zip whose sizes exceed its file")
        names = [entry.filename for entry in entries]
        pickles = [name for name in names if name.endswith(".pkl")]
        if len(pickles) != 1 or len(set(names)) < len(names):
            raise ValueError("a zip without exactly one pickle")
        if archive.getinfo(pickles[0]).file_size > PICKLE_LIMIT:
            raise ValueError(f"a pickle of more than {PICKLE_LIMIT:,} bytes")
        content = archive.read(pickles[0])
        # PyTorch does not notice damage inside a tensor, but the zip has checksums.
        if (broken := archive.testzip()) is not None:
            raise ValueError(f"'{broken}' differs from its checksum")
    for code, argument, _ in pickletools.genops(content):
        if code.name == "GLOBAL" and not _NAMES.fullmatch(str(argument)):
            raise ValueError(f"a pickle that names {ascii(argument)[:60]}")
