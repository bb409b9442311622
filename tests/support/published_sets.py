"""Small synthetic data sets, each in the schema that the real one is published in."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pgpo_async.data.importing import BENCHMARKS


def png(number: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12 + number, 8), (number % 256, 40, 90)).save(buffer, format="PNG")
    return buffer.getvalue()


def stored(number: int = 0) -> dict[str, Any]:
    """An image as the Hub's Image feature stores it."""
    return {"bytes": png(number), "path": None}


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4)
    return path


def mathverse() -> list[dict[str, Any]]:
    versions = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")
    return [
        {
            "sample_index": str(5 * problem + number + 1),
            "problem_index": str(problem + 1),
            "problem_version": version,
            "question": "" if version == "Vision Only" else f"What is x?\nChoices:\nA:{problem}\nB:7",
            "image": stored(5 * problem + number),
            "answer": "B" if problem == 0 else "7",
            "question_type": "multi-choice" if problem == 0 else "free-form",
            "metadata": {
                "split": "testmini",
                "source": "GeoQA",
                "subject": "Plane Geometry",
                "subfield": "Angle",
            },
            "query_wo": "unread",
            "query_cot": "unread",
        }
        for problem in range(2)
        for number, version in enumerate(versions)
    ]


def mathvision() -> list[dict[str, Any]]:
    return [
        {
            "id": "1",
            "question": "How many circles?\n<image1>",
            "options": [],
            "image": "images/1.jpg",
            "decoded_image": stored(1),
            "answer": "4",
            "solution": None,
            "level": 2,
            "subject": "counting",
        },
        {
            "id": "2",
            "question": "Which of <image1> fits? See <image1> and <image2>.",
            "options": ["A", "B", "C", "D", "E"],
            "image": "images/2.jpg",
            "decoded_image": stored(2),
            "answer": "C",
            "solution": None,
            "level": 3,
            "subject": "logic",
        },
        {
            "id": "3",
            "question": "How long?",
            "options": ["3 cm", "4 cm"],
            "image": "images/3.jpg",
            "decoded_image": stored(3),
            "answer": "4 cm",
            "solution": "",
            "level": 1,
            "subject": "metric geometry",
        },
    ]


def dynamath(variant: int) -> list[dict[str, Any]]:
    kinds = (("float", "2.5"), ("multiple choice", "A"), ("text", "even"))
    return [
        {
            "id": str(number + 1),
            "question": f"Variant {variant} of question {number + 1}?",
            "image": f"images/{number + 1}.png",
            "decoded_image": stored(10 * variant + number),
            "ground_truth": truth,
            "answer_type": kind,
            "subject": "algebra",
            "knowledge_level": "high school",
        }
        for number, (kind, truth) in enumerate(kinds)
    ]


def logicvista() -> list[dict[str, Any]]:
    return [
        {
            "id": f"v1_{number}",
            "question": "Which box is next? Choose from A, B, C, D.",
            "answer": answer,
            "reasoning": "because",
            "image": stored(number),
            "skill": "inductive",
            "broad_capability": ["patterns"],
            "specific_capability": ["sequence"],
            "imagesource": "s",
        }
        for number, answer in enumerate(("B", "A, C"))
    ]


def we_math() -> list[dict[str, Any]]:
    keys = ("2steps_1", "2steps_2", "2steps_multi")
    return [
        {
            "ID": "2steps_7",
            "split": "testmini",
            "knowledge concept": "Circles",
            "question": f"Step {number}: what area?( )",
            "option": "A. 200.96; B. 32.15; C. 62;D. 3 ; E. No correct answer",
            "answer": "B",
            "image_path": stored(number),
            "key": key,
            "question number": 100 + number,
            "knowledge concept description": "...",
        }
        for number, key in enumerate(keys)
    ]


def mmmu_pro_vision() -> list[dict[str, Any]]:
    return [
        {
            "id": "test_History_1",
            "image": stored(1),
            "options": "['a war', 'a \"peace\"', 'neither']",
            "answer": "B",
            "subject": "History",
        }
    ]


def mmmu_pro_standard() -> list[dict[str, Any]]:
    row: dict[str, Any] = {f"image_{number}": None for number in range(1, 8)}
    row |= {
        "id": "test_Art_2",
        "question": "Compare <image 2> with <image 1>. Is <image 2> older?",
        "options": "['yes', 'no', 'as <image 3>']",
        "explanation": "?",
        "image_1": stored(1),
        "image_2": stored(2),
        "image_3": stored(3),
        "img_type": "['Paintings']",
        "answer": "C",
        "topic_difficulty": "Easy",
        "subject": "Art",
    }
    return [row]


def mmk12() -> list[dict[str, Any]]:
    return [
        {
            "id": f"m{number}",
            "question": "<image>Which is right? A. yes\nB. no",
            "answer": "A",
            "subject": subject,
            "image": stored(number),
        }
        for number, subject in enumerate(("math", "physics"))
    ]


def ready(count: int = 3) -> list[dict[str, Any]]:
    return [
        {"images": [stored(number)], "problem": f"<image>Find x, {number}.", "answer": str(number)}
        for number in range(count)
    ]


def write_virl39k(folder: Path) -> Path:
    """The first release: a Parquet of paths, and the pictures beside it."""
    (folder / "images").mkdir(parents=True)
    for number in range(2):
        (folder / "images" / f"{number}.png").write_bytes(png(number))
    rows = [
        {
            "question": "<image>\n<image>\nWhich is wider?",
            "answer": "\\boxed{B}",
            "qid": "Proc-1",
            "image": ["images/0.png", "images/1.png"],
            "category": "Spatial",
            "PassRate_32BTrained": 0.5,
        }
    ]
    return write_parquet(folder / "39Krelease.parquet", rows)


def write_chat_pack(folder: Path) -> Path:
    """An evaluation pack: `data/papo/SET.json`, and the pictures in `data/images/SET`."""
    (folder / "data/images/We_Math").mkdir(parents=True)
    (folder / "data/images/We_Math/0.png").write_bytes(png(5))
    instruction = (
        "You first think through the reasoning process as an internal monologue, enclosed within <think> "
        "</think> tags. Then, provide your final answer enclosed within \\boxed{}."
    )
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"<image>What area? A. 1; B. 2 {instruction}"},
                {"role": "assistant", "content": "B"},
            ],
            "images": ["./data/images/We_Math/0.png"],
        },
        {"messages": [{"role": "user", "content": "no answer"}], "images": []},
    ]
    path = folder / "data/papo/We_Math.json"
    path.parent.mkdir()
    path.write_text(json.dumps(rows))
    return path


def write_first_logicvista(folder: Path) -> Path:
    """The first release: an object of rows by their ids, and the pictures beside it."""
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "1.png").write_bytes(png(1))
    path = folder / "dataset.json"
    row = {
        "imagename": "1.png",
        "question": "Next?",
        "answer": "D",
        "reasoning": "",
        "skill": ["deductive", "spatial"],
    }
    path.write_text(json.dumps({"v1_0": row}))
    return path


def published(folder: Path) -> dict[str, Path]:
    """Each benchmark, and We-Math, as a copy of its repository on the Hub."""
    shard = "00000-of-00001.parquet"
    for variant in (1, 2, 10):
        write_parquet(folder / f"dynamath/data/sample{variant}-{shard}", dynamath(variant))
    write_parquet(folder / f"geometry3k/data/test-{shard}", ready())
    write_parquet(folder / f"geometry3k/data/train-{shard}", ready(9))
    write_parquet(folder / "mathverse/testmini.parquet", mathverse())
    write_parquet(folder / "mathverse/testmini_text_only.parquet", [{"question": "no image"}])
    write_parquet(folder / f"mathvision/data/test-{shard}", mathvision())
    write_parquet(folder / f"mathvision/data/testmini-{shard}", mathvision()[:1])
    write_parquet(folder / f"mmk12/data/test-{shard}", mmk12())
    write_parquet(folder / f"we_math/data/testmini-{shard}", we_math())
    write_parquet(folder / f"logicvista/data/test-{shard}", logicvista())
    write_parquet(folder / f"mmmu_pro/vision/test-{shard}", mmmu_pro_vision())
    write_parquet(folder / f"mmmu_pro/standard (10 options)/test-{shard}", mmmu_pro_standard())
    return {name: folder / name.removesuffix("_v") for name in (*BENCHMARKS, "we_math")}
