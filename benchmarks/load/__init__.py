"""Open-loop load: hazgate and what people put in its place, each under requests that do not wait.

Requests come at random times, at a rate that does not wait for answers (Poisson arrivals), as a
gateway's do. Each has a deadline; what is not answered by then does not count.
"""
