"""The errors that hazgate raises, divided by what the caller should do.

HazgateError
├── BundleError                  fix the deployment
│   ├── ManifestError            bundle.json is malformed, incomplete or of another schema
│   ├── IntegrityError           a file is missing, foreign, or not the one that was exported
│   ├── ProviderError            the execution provider that was asked for is not to be had
│   └── PolicyError              the policy file is malformed, or does not fit the bundle
├── InputError (ValueError)      fix the request
├── OutputError                  fix where the output goes, and ask again
├── Overloaded                   retry later, or shed
├── DeadlineExceeded (TimeoutError)   retry, or shed
└── InferenceError               page someone

No message carries a user's text. No failure is ever reported as a safe verdict.
"""


class HazgateError(Exception):
    """Whatever hazgate refuses or fails to do."""


class BundleError(HazgateError):
    """The bundle cannot be served as it is deployed here."""


class ManifestError(BundleError):
    """The manifest does not say what a manifest must say."""


class IntegrityError(BundleError):
    """The files are not the ones that the manifest lists."""


class ProviderError(BundleError):
    """The execution provider that was asked for cannot run this model here."""


class PolicyError(BundleError):
    """The policy does not say what a policy must say, or names what the bundle does not have."""


class InputError(HazgateError, ValueError):
    """The request cannot be answered as it was sent."""


class OutputError(HazgateError):
    """What was asked for cannot be written where it was to be written."""


class Overloaded(HazgateError):  # noqa: N818 - reads as the state that it names
    """There is no capacity for the request now."""


class DeadlineExceeded(HazgateError, TimeoutError):  # noqa: N818 - the usual name of this state
    """The request's time ran out before its answer was ready."""


class InferenceError(HazgateError):
    """The model ran and did not produce an answer that may be used."""
