"""The embedded demo: two synthetic visual data sets, each with a tiny model that has half learnt it.

Owns them, so that the default run and the tests need no download. Imports nothing else of this package;
`data` and the tests call it.
"""
