"""The embedded demo: a synthetic visual data set and a tiny vision-language model that has half learnt it.

Owns both, so that the default run and the tests need no download. Imports nothing else of this package;
`data` and the tests call it.
"""
