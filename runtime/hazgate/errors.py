"""The errors that hazgate raises, grouped by what the caller should do.

HazgateError
├── BundleError                  fix the deployment
│   ├── ManifestError            bundle.json is malformed, incomplete or has another schema
│   ├── IntegrityError           a file is missing, foreign, or not the one that was exported
│   ├── ProviderError            the requested execution provider is not available
│   └── PolicyError              the policy file is malformed, or does not fit the bundle
├── InputError (ValueError)      fix the request
├── OutputError                  fix where the output goes, and ask again
├── Overloaded                   retry later, or shed
├── DeadlineExceeded (TimeoutError)   retry, or shed
└── InferenceError               page someone

No message carries a user's text. No failure is ever reported as a safe verdict.
"""


class HazgateError(Exception):
    """Anything that hazgate refuses or fails to do."""


class BundleError(HazgateError):
    """The bundle cannot be served as it is deployed here."""


class ManifestError(BundleError):
    """The manifest is malformed, incomplete or has another schema."""


class IntegrityError(BundleError):
    """The files are not the ones that the manifest lists."""


class ProviderError(BundleError):
    """The requested execution provider cannot run this model here."""


class PolicyError(BundleError):
    """The policy is malformed, or names hazards that the bundle does not have."""


class InputError(HazgateError, ValueError):
    """The request cannot be answered as it was sent."""


class OutputError(HazgateError):
    """The output cannot be written to its place."""


class Overloaded(HazgateError):  # noqa: N818 - reads as the state that it names
    """There is no capacity for the request now."""


class DeadlineExceeded(HazgateError, TimeoutError):  # noqa: N818 - the usual name of this state
    """The request's time ran out before its answer was ready."""


class InferenceError(HazgateError):
    """The model ran and gave no usable answer."""
