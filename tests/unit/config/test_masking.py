"""No secret of a config is written or printed, and one that was left out has to be given again."""

import pytest

from pgpo_async.config import RunConfig, dump_config, load_config
from pgpo_async.config.masking import MASK, is_secret_key, masked_override, masked_text
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.run_folder import RunFolder

SECRETS = {
    "data": {"source": "s3://KEY_ID:S3CRET@bucket/train.parquet"},
    "ray": {"address": "ray://user:S3CRET@head:10001"},
    "generator": {
        "engine": {
            "hf_token": "S3CRET",
            "api_key": "S3CRET",
            "headers": {"Authorization": "Bearer S3CRET"},
            "secrets": ["S3CRET", {"nested": "S3CRET"}],
            "hf_overrides": {"url": "https://host/x?X-Amz-Signature=S3CRET&part=1"},
            "comment": "hf_" + "S3CRET" * 6,
            "max_num_batched_tokens": 8192,
            "eos_token": "<end>",
            "tokenizer": "some/name",
        }
    },
}


def test_a_written_config_holds_no_secret_and_all_else():
    text = dump_config(RunConfig.model_validate(SECRETS))
    assert "S3CRET" not in text
    assert text.count(MASK) == 9
    for kept in ("bucket/train.parquet", "head:10001", "8192", "<end>", "some/name", "part=1"):
        assert kept in text


def test_a_run_folders_config_asks_for_its_secrets_again(tmp_path):
    config = RunConfig.model_validate({"output_dir": str(tmp_path), **SECRETS})
    path = RunFolder(config).path / "config.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    issues = caught.value.issues
    assert len(issues) == 9
    assert any(
        "generator.engine.hf_token: must be given again, got '<masked secret>': a run's config.yaml holds no "
        "secrets; add generator.engine.hf_token=VALUE to the command" in issue
        for issue in issues
    )
    again = load_config(
        path,
        [
            "data.source=s3://KEY_ID:S3CRET@bucket/train.parquet",
            "ray.address=null",
            "generator.engine={hf_token: S3CRET}",
        ],
    )
    assert (again.data, again.generator.engine) == (config.data, {"hf_token": "S3CRET"})


def test_a_config_without_secrets_is_written_as_it_is():
    config = RunConfig.model_validate({"data": {"instruction": "mail a@b.c or see http://host/@x?key=1"}})
    assert MASK not in dump_config(config)


@pytest.mark.parametrize(
    "key", ["token", "hf_token", "HF_TOKEN", "apiKey", "access-key", "db_password", "auth"]
)
def test_telling_keys_are_known(key):
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key", ["max_tokens", "tokenizer", "eos_token", "filter.key", "author", "image_token"]
)
def test_other_keys_are_left_alone(key):
    assert not is_secret_key(key)


@pytest.mark.parametrize(
    "override",
    [
        "generator.engine.hf_token=S3CRET",
        "generator.engine={hf_token: S3CRET, seed: 1}",
        'generator.engine={"api_key": "S3CRET"}',
        "data.source=https://me:S3CRET@host/x.parquet",
        "hf_token=S3CRET",
    ],
)
def test_an_override_that_is_wrong_is_told_without_its_secret(tmp_path, override):
    (tmp_path / "config.yaml").write_text("")
    assert "S3CRET" not in masked_override(override)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.yaml", [override.replace("=", ".x=", 1), "seed=x"])
    assert "S3CRET" not in str(caught.value)


def test_a_missing_source_is_told_without_its_credentials():
    assert masked_text("no s3://me:S3CRET@bucket here") == f"no s3://{MASK}@bucket here"
