"""Plain values and pure functions: geometry, findings, exam rules, retry decisions, ports.

Nothing in here reads a file, opens a socket or knows a clock; time, randomness and pixels come
in as arguments. numpy and scipy are the only libraries: both only turn arrays into arrays.
"""
