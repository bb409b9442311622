"""What people look at after a run, and during it: the report, the token viewer."""
