"""Results on disk: one JSON document per run, under one header, read back strictly."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.harness.errors import ResultsError
from benchmarks.harness.machine import Machine, describe_machine, today
from hazgate.bundle.bundle import Bundle
from hazgate.documents.decode import decode, encode
from hazgate_export.bundle.assemble import PARITY_FILE, write_json
from hazgate_export.parity import Parity

SCHEMA_VERSION = 2
RESULTS = Path(__file__).parents[1] / "results"
DISTRIBUTIONS = (
    "hazgate",
    "hazgate-export",
    "onnxruntime",
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "numpy",
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultHeader:
    """The subject and circumstances of one run; every results type has one as `header`.

    Attributes:
        schema_version: of the whole document.
        name: the bundle's or model's name.
        digest: the bundle's SHA-256, hexadecimal; None where no bundle was measured.
        date: ISO 8601, UTC.
        command: what a reader types to repeat the run, without this machine's paths.
        machine: where it ran; None where the figures depend on no machine.
        threads: processors that each system may use; None where the run does not set them.
    """

    schema_version: int
    name: str
    digest: str | None
    date: str
    command: str
    machine: Machine | None
    threads: int | None

    @property
    def host(self) -> Machine:
        """The machine of a run that was timed.

        Raises:
            ResultsError: none was recorded.
        """
        if self.machine is None:
            raise ResultsError(
                f"results of {self.name}: expected the machine that they were measured on, found "
                f"none; run `{self.command}`"
            )
        return self.machine

    @property
    def origin(self) -> str:
        """Date and command, as the last words of a table's caption."""
        return f"{self.date}, `{self.command}`."


class Results(Protocol):
    """The results of one kind of benchmark: a dataclass of a header and its figures."""

    @property
    def header(self) -> ResultHeader:
        """The subject and circumstances of the run."""
        ...


R = TypeVar("R", bound=Results)


def header(
    name: str,
    command: str,
    *,
    digest: str | None = None,
    threads: int | None = None,
    distributions: Sequence[str] = (),
) -> ResultHeader:
    """Return the header of a run of today on this machine.

    Args:
        name: the bundle's or model's name.
        command: what a reader types to repeat the run.
        digest: the bundle's.
        threads: processors that each system may use.
        distributions: whose versions matter, besides `DISTRIBUTIONS`.
    """
    return ResultHeader(
        schema_version=SCHEMA_VERSION,
        name=name,
        digest=digest,
        date=today(),
        command=command,
        machine=describe_machine((*DISTRIBUTIONS, *distributions)),
        threads=threads,
    )


def save(results: Results, file: Path) -> None:
    """Write results as JSON; make the folder if it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, encode(results))


def load(kind: type[R], file: Path) -> R:
    """Return the results in `file`.

    Raises:
        ResultsError: it is missing, not JSON, of another schema, or some fields are wrong; the
            message lists every one.
    """
    results = read_document(kind, file)
    if results.header.schema_version != SCHEMA_VERSION:
        raise ResultsError(
            f"{file}: expected schema_version {SCHEMA_VERSION}, found "
            f"{results.header.schema_version}; measure again with this version"
        )
    return results


def read_document(kind: type[T], file: Path) -> T:
    """Return the value of type `kind` that a JSON file spells.

    Raises:
        ResultsError: it is missing, not JSON, or some fields are wrong; the message lists all.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultsError(
            f"{file} is missing; `make bench` or `make rehearse` writes it"
        ) from error
    except ValueError as error:
        raise ResultsError(f"{file} is not a JSON document: {error}") from error
    problems: list[str] = []
    found = decode(kind, data, problems)
    if found is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ResultsError(f"{file} is not of kind {kind.__name__}:\n{listed}")
    return found


def parity_of(bundle: Bundle) -> tuple[Parity, ...]:
    """Return the parity figures that a bundle carries.

    Raises:
        ResultsError: the bundle's parity file is malformed.
    """
    document = json.loads(bundle.file(PARITY_FILE).read_text(encoding="utf-8"))
    problems: list[str] = []
    found = [decode(Parity, item, problems) for item in document["results"]]
    if problems:
        raise ResultsError(f"{PARITY_FILE}: {'; '.join(problems)}")
    return tuple(parity for parity in found if parity is not None)
