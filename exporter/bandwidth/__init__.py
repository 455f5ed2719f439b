"""Bandwidth tests: when it is this node's turn, and what came of it.

libiperf lives in a child process (:mod:`.child`) that :mod:`.cage` starts, bounds and kills;
:mod:`.end` is one end of one test, :mod:`.runner` keeps the timetable, :mod:`.accounts` remembers.
"""
