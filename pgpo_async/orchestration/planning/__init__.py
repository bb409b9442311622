"""What a run will come to, before it is run: virtual time, simulated stages, the capacity planner."""
