"""`python -m pgpo_async`: the command line."""

from pgpo_async.cli import main

main()
