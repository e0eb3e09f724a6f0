"""Errors of the benchmarks.

BenchmarkError
├── WorkerFailed     a system under test failed or its process ended
├── ResultsError     a results file is missing, malformed or of another schema
├── RegionError      a page's marked regions are wrong
└── RehearsalFailed  the full-size build failed, or its models are not of the expected size
"""


class BenchmarkError(Exception):
    """A benchmark that cannot run or must not go on; the message says why."""


class WorkerFailed(BenchmarkError):  # noqa: N818 - reads as the event that it names
    """A system's process that reported an error or ended; the message says which and why."""


class ResultsError(BenchmarkError):
    """A results file that does not hold the results it should."""


class RegionError(BenchmarkError):
    """A marked region of a page that is unknown, unclosed, nested or given twice."""


class RehearsalFailed(BenchmarkError):  # noqa: N818 - reads as the event that it names
    """A stand-in with the wrong number of parameters, or a build of it that failed."""
