"""`pgpo-async export RUN --to hf`: a trained model as a folder that others can load and judge.

source            which weights of which run
checkpoint_model  those of a checkpoint, without starting DeepSpeed
model_files       whether a model's folder is whole, and what it holds
base_model        what the run started from, and under which licence
published         values as strangers may read them
recipe, results   what the card tells of the run
usage             how the card says to load it
card              README.md: front matter and text
folder            the new folder, whole or not there
command           the command line
"""
