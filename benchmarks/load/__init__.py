"""Open-loop load: hazgate and the servers that people use instead, under random arrivals.

Requests arrive at random times, at a rate that does not wait for answers (Poisson arrivals), as a
gateway's do. Each has a deadline; later answers do not count.

`hazgate.engine.session` ends the spinning of a session's threads with its run. The two levels are
two sessions with threads of their own. By ONNX Runtime's defaults the threads of one spin on
while the other runs, and while the event loop and the asker want a processor. With spinning, a
server on two processors was busy several times as long for the same texts, and past saturation
answered a small part of what it answers without, over HTTP and embedded alike. One thread per
session, or no spinning at all, also helps. Asking with httpx made it worse: it takes several
times the processor time of the client here.
"""
