"""From measured service times to the size of a fleet.

`times` reads what was measured, `service` says what a text costs, `traffic` when texts come,
`fleet` simulates workers with the queue that `hazgate serve` has, `queueing` gives a first guess,
`search` finds how many workers keep a bound, and `bill` what they take and cost.
"""
