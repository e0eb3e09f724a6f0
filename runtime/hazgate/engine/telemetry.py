"""Telemetry of ONNX Runtime, which is on in its own packages from 1.32 on: turned off.

It writes a device id and a database of events below the home directory, and sends them. Events
hold the interpreter's path and names of model files.
Source: Privacy.md in the wheel of onnxruntime 1.32.
"""

import os

_SWITCH = "ORT_DISABLE_TELEMETRY"


def disable_telemetry() -> None:
    """Turn the telemetry off for this process, unless the variable is set already.

    Call it before onnxruntime is first imported: that is when the variable is read.
    """
    if not os.environ.get(_SWITCH):
        os.environ[_SWITCH] = "1"


def is_telemetry_disabled() -> bool:
    """Return whether the telemetry is to be off; somebody may have turned it on on purpose."""
    return os.environ.get(_SWITCH) == "1"
