"""Capacity planning: from measured service times to the size of a fleet.

`times` reads measurements, `service` gives the cost of a text, `traffic` the arrivals. `fleet`
simulates workers with the queue of `hazgate serve`, `queueing` makes a first guess, `search` finds
how many workers keep a bound, and `bill` computes what they need and cost.
"""
