"""Placement, admission, supervision, the run loop, the capacity planner."""
