"""Simulated fleets: thousands of agents over the code that decides in a real one, and a queue that is modelled.

What is real: the profiles of recorded machines, `lanes_served`, `match`, reservations, back-off and pauses. What is
modelled: the queue's server, the time that a job runs, and the network, by latencies.
"""
