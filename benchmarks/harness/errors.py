"""The errors of the benchmarks.

BenchmarkError
├── WorkerFailed     a system under test failed or its process ended
├── ResultsError     a results file is missing, malformed or of another schema
├── RegionError      the README's marked regions are not as they must be
└── RehearsalFailed  the full-size build failed, or its models are not of the expected size
"""


class BenchmarkError(Exception):
    """Whatever the benchmarks refuse or fail to do."""


class WorkerFailed(BenchmarkError):  # noqa: N818 - reads as the event that it names
    """A system's process reported an error, or ended; the message says which and why."""


class ResultsError(BenchmarkError):
    """A results file cannot be read as what it should be."""


class RegionError(BenchmarkError):
    """A marked region of the README is unknown, unclosed or nested."""


class RehearsalFailed(BenchmarkError):  # noqa: N818 - reads as the event that it names
    """The stand-in has not the parameters that it must have, or its build failed."""
