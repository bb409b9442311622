"""The tiny models' tokenizers and processors: Qwen2.5-VL's formats over a few hundred tokens.

Owns the special tokens, the chat template and the image limits. Trains on a task's own texts; any other
text still encodes, byte by byte. Called by `demo.build`.
"""

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

from pgpo_async.demo.task import SHAPES_TASK, DemoTask

PAD_TOKEN = "<|endoftext|>"
END_OF_TURN_TOKEN = "<|im_end|>"
SPECIAL_TOKENS = (
    PAD_TOKEN,
    "<|im_start|>",
    END_OF_TURN_TOKEN,
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
MAX_POSITIONS = 2048

# Qwen2.5's own split into words: one leading space at most, digits one by one.
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Qwen2.5-VL's template, less the default system turn, less a system turn without text, less picture numbers.
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' or message['content'] %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_OTHER_TEXTS = (
    "system\nYou are a helpful assistant.",
    "user\nassistant\n",
    "Think step by step inside <think> </think> and put the final answer inside \\boxed{}.",
    "The image shows one object. What is the number of objects in the image? Which option is right?",
)


def build_processor(task: DemoTask = SHAPES_TASK) -> Any:
    """A new `Qwen2_5_VLProcessor` with a task's words.

    84 x 84 pixels become 9 image tokens, larger images at most 64.
    """
    pixels = {"min_pixels": 56 * 56, "max_pixels": 224 * 224}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=train_tokenizer(task),
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=_CHAT_TEMPLATE,
    )


def train_tokenizer(task: DemoTask = SHAPES_TASK) -> Any:
    """A byte-level BPE over a task's texts; deterministic. Pads on the left, as generation needs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=task.vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(task), trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN_TOKEN,
        pad_token=PAD_TOKEN,
        additional_special_tokens=[
            token for token in SPECIAL_TOKENS if token not in (PAD_TOKEN, END_OF_TURN_TOKEN)
        ],
        model_max_length=MAX_POSITIONS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _corpus(task: DemoTask) -> list[str]:
    # Repeated, so that the demo's words win the merges; the rest fills what is left of the vocabulary.
    return task.vocabulary_texts() * 10 + list(_OTHER_TEXTS)
