"""How good a bundle is on labelled texts: figures with intervals, and a report of them.

Its libraries come with the extra `hazgate[evaluate]`; nothing that serves a request imports this.
"""
