"""The model as scorer and learner both use it: load it, collate groups, get response log-probs.

    groups            a prompt with its responses
      -> packing      which responses share a pass: token budget, even cost (flops)
      -> inputs       one row, each prompt once (prompts, positions, images); batch is what comes out
           views      what it shows of the images: all, none, a text-only prompt's worth, some cells (masks)
      -> model        tower once an image, layers (trim, elementwise) with attention over segments
           attention  row_attention: own and prefix parts, merged; kernels by device; vision_attention
           logprobs   log-probs, entropy, exact divergence by slices of the vocabulary (vocabulary, nucleus)
           similarity of hidden states to the image's, layer by layer
           lora       low-rank adapters in the layers, where a run trains those
    passes            all of it for scoring what is `wanted`, images prepared ahead

torch and transformers only (no Ray, vLLM, DeepSpeed), so it runs alone on a GPU box. One forward serves
the sighted pass, the blind pass and training, so the quotient that dependency needs is of one policy
(DESIGN 5.4). Not here: what is done with log-probs (`algorithms`), optimizers, weight transfer. Names are
imported from the modules, so that asking for one part does not load the others.
"""
