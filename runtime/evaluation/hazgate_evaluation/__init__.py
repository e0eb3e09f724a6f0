"""How good a bundle is on labelled texts: figures with intervals, and a report of them.

Nothing that serves a request imports this.
"""

__version__ = "0.1.0"
