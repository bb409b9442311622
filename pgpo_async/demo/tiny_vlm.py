"""Where the shipped tiny Qwen2.5-VLs lie on disk. Light: neither torch nor transformers is imported.

Owns only the locations; `demo.build` makes the files, `transformers` and vLLM read them.
"""

from pathlib import Path

from pgpo_async.demo.task import OBJECTS_TASK, SHAPES_TASK, DemoTask

_REQUIRED_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def tiny_vlm_path(task: DemoTask = SHAPES_TASK) -> Path:
    """The folder of the checkpoint shipped for a task, for any `from_pretrained` or vLLM's `model=`.

    Raises FileNotFoundError, naming the missing files and the command that makes them, if it is incomplete.
    """
    folder = default_output(task)
    missing = [name for name in _REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"the demo model's folder {folder} must hold {', '.join(_REQUIRED_FILES)}, got no "
            f"{', '.join(missing)}: reinstall pgpo-async, or rebuild with "
            f"`python -m pgpo_async.demo.build --task {task.name}`"
        )
    return folder


def tiny_vlm_objects_path() -> Path:
    """`tiny_vlm_path` of the objects task."""
    return tiny_vlm_path(OBJECTS_TASK)


def default_output(task: DemoTask) -> Path:
    """Where `demo.build` writes a task's model unless told otherwise; the folder may not exist."""
    return Path(__file__).resolve().parent / task.folder
