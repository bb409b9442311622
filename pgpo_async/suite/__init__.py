"""Benchmarks asked of a model: `pgpo-async eval CONFIG|RUN|CHECKPOINT --suite pgpo`.

command      the command line
target       which model is meant, and with what config its engines are made
benchmarks   which prompts are asked
identity     what must be the same for an evaluation to go on where it was
asked        the prompts through the engines, each answer to disk
evaluation   one evaluation, from its folder to its results
comparison   the same prompts in another evaluation, and whether the two differ
"""
