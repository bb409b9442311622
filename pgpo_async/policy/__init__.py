"""The model as scorer and learner both use it: load it, collate sequences, get response log-probs.

torch and transformers only (no Ray, vLLM, DeepSpeed), so it runs alone on a GPU box. One forward serves
the sighted pass, the blind pass and training, so the quotient that dependency needs is of one policy
(DESIGN 5.4). Not here: what is done with log-probs (`algorithms`), optimizers, weight transfer. Names are
imported from the modules, so that asking for one part does not load the others.
"""
