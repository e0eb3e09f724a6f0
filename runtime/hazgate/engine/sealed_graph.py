"""A level's graph and weights as they were checked, for ONNX Runtime."""

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.sealed import SealedFile
from hazgate.engine.external_data import external_files
from hazgate.errors import BundleError


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedGraph:
    """A graph and its external data behind the descriptors through which they were hashed.

    `folder` is the graph's, from which it names its `data`.
    """

    folder: Path
    graph: SealedFile
    data: Mapping[Path, SealedFile]

    def content(self) -> bytes:
        """Return the graph's bytes.

        Raises:
            IntegrityError: they are not those of the manifest.
            BundleError: the graph names weights that its variant does not list, so that nobody
                has checked them.
        """
        content = self.graph.read()
        named = external_files(content, self.graph.name)
        unlisted = sorted(named - self._by_name().keys())
        if unlisted:
            raise BundleError(
                f"{self.graph.name} names files of weights that the manifest does not list for its "
                f"variant: {', '.join(map(repr, unlisted))}; export the bundle again"
            )
        return content

    def maps(self) -> Mapping[str, mmap.mmap]:
        """Return the weights as maps, by the names that the graph has for them.

        Raises:
            OSError: a file cannot be mapped.
            ValueError: a file is empty.
        """
        return {name: sealed.map() for name, sealed in self._by_name().items()}

    def check(self, *, by_path: bool) -> None:
        """Check that nothing of it was written into since it was hashed.

        Args:
            by_path: a library opened the files by their paths: they must be the same files.

        Raises:
            IntegrityError: a file was changed or replaced.
        """
        self.graph.check(self.folder / Path(self.graph.name).name if by_path else None)
        for file, sealed in self.data.items():
            sealed.check(file if by_path else None)

    def _by_name(self) -> dict[str, SealedFile]:
        return {
            Path(os.path.relpath(file, self.folder)).as_posix(): sealed
            for file, sealed in self.data.items()
        }
