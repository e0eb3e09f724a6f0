"""Evaluation of a bundle on labelled texts: figures with intervals, and a report.

Nothing that serves a request imports this.
"""

__version__ = "0.1.0"
