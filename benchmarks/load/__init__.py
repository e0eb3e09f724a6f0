"""Open-loop load: hazgate and what people put in its place, each under requests that do not wait.

Requests come at random times, at a rate that does not wait for answers (Poisson arrivals), as a
gateway's do. Each has a deadline; what is not answered by then does not count.

`hazgate.engine.session` ends the spinning of a session's threads with its run. Two levels are two
sessions with threads of their own, and by ONNX Runtime's defaults those of the one spin on while
the other runs, and while the event loop and whoever asks want a processor. Left spinning, a server
on two processors was busy several times as long for the same texts, and past saturation answered a
small part of what it answers without, over HTTP and embedded alike. A single thread a session, or
no spinning at all, helps there as well. Asking with httpx, as was done once, made it worse: it
takes several times the processor of the client here.
"""
