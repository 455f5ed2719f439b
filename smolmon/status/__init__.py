"""`smolmon status`: what is known of a cluster now, judged (model, judge) and drawn (frame).

All but `ask` and `screen` is pure: samples in, text out.
"""
