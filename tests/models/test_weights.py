"""Only the model that is in the folder is loaded: every weight there, every weight fitting."""

import json
import logging
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import entangle_lens as el
from entangle_lens.errors import EntangleError
from entangle_lens.models import info, load_plain
from entangle_lens.models.weights import check_loaded, weight_files

WEIGHTS, PICKLE = "model.safetensors", "pytorch_model.bin"
INDEX = f"{WEIGHTS}.index.json"
RANDOM = "which would be filled with random numbers"


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A Qwen 3 of four layers that a test may break."""
    return shutil.copytree(tiny_folder("qwen3"), tmp_path / "copy")


def refusal(folder, load=el.load):
    with pytest.raises(EntangleError) as refused:
        load(folder)
    message = str(refused.value)
    assert str(folder) in message
    assert "above report" not in message
    return message


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder, change):
    weights = change(load_file(folder / WEIGHTS))
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def without(*beginnings):
    return lambda weights: {k: v for k, v in weights.items() if not k.startswith(beginnings)}


def into_shards(folder, named=None, moved=""):
    """Replace the weight file by two shards and an index that names them."""
    weights = list(load_file(folder / WEIGHTS).items())
    (folder / WEIGHTS).unlink()
    (folder / moved).mkdir(exist_ok=True)
    where = {}
    for file, part in (("a.safetensors", weights[::2]), ("b.safetensors", weights[1::2])):
        save_file(dict(part), folder / moved / file, metadata={"format": "pt"})
        where |= {key: f"{moved}/{file}" if moved else file for key, _ in part}
    index = {"metadata": {"total_size": 1}, "weight_map": named or where}
    (folder / INDEX).write_text(json.dumps(index))


def logits(model):
    return model(torch.arange(1, 9)[None])


@pytest.mark.parametrize("load", [el.load, load_plain])
@pytest.mark.parametrize(
    ("change", "config", "named"),
    [
        (without("model.layers.2.mlp."), {}, "model.layers.2.mlp.down_proj.weight"),
        (without("model.layers.2."), {}, "and 8 more"),
        (without("model.norm"), {}, "lack model.norm.weight,"),
        (without(), {"tie_word_embeddings": False}, "lack lm_head.weight,"),
        (lambda w: {f"x.{k}": v for k, v in w.items()}, {}, "model.embed_tokens.weight"),
        (without(), {"num_hidden_layers": 8, "layer_types": None}, "model.layers.4."),
        (without(), {"model_type": "qwen2", "architectures": None}, "q_proj.bias"),
    ],
    ids=["one mlp", "a layer", "norm", "head", "renamed", "more layers", "another family"],
)
def test_missing_weights_are_refused_by_name(copy, load, change, config, named):
    change_weights(copy, change)
    change_config(copy, **config)
    message = refusal(copy, load)
    assert named in message
    assert RANDOM in message


@pytest.mark.parametrize("load", [el.load, load_plain])
def test_layers_that_the_configuration_lacks_are_refused(copy, load):
    change_config(copy, num_hidden_layers=2, layer_types=["full_attention"] * 2)
    assert "holds weights of layers 2, 3 that the configuration does not have" in refusal(
        copy, load
    )


def test_weights_that_another_family_would_drop_are_refused(copy):
    """A Llama has no norms of queries and keys, and reads the rest of a Qwen 3."""
    change_config(copy, model_type="llama", architectures=["LlamaForCausalLM"])
    message = refusal(copy)
    assert "model.layers.0.self_attn.k_norm.weight" in message
    assert "has no place for in its layers" in message


def test_weights_of_another_shape_are_refused_with_both_shapes(copy):
    change_config(copy, intermediate_size=64)
    message = refusal(copy)
    assert "the shape (128, 256) where (128, 64) was expected" in message
    assert "model.layers.0.mlp.down_proj.weight" in message


@pytest.mark.parametrize("kind", [torch.int8, torch.int32, torch.uint8])
def test_weights_kept_as_whole_numbers_are_refused(copy, kind):
    change_weights(copy, lambda w: {k: (v * 100).to(kind) for k, v in w.items()})
    assert "config.json does not say how to turn that into numbers" in refusal(copy)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_kept_as_any_floats_are_loaded(copy, kind):
    change_weights(copy, lambda w: {k: v.to(kind) for k, v in w.items()})
    assert logits(el.load(copy)).isfinite().all()


def test_quantisation_that_transformers_does_not_know_is_refused(copy):
    change_config(copy, quantization_config={"quant_method": "homemade", "bits": 3})
    assert "quantised as 'homemade', which transformers does not know" in refusal(copy)


def test_weights_outside_of_the_layers_are_left_out_with_a_word(copy, caplog):
    before = logits(el.load(copy))
    assert info(el.load(copy)).notes == ()
    change_weights(copy, lambda w: w | {"vision\x1b[2J.patch.weight": torch.ones(2, 2)})
    with caplog.at_level(logging.WARNING):
        model = el.load(copy)
    (note,) = info(model).notes
    assert "which this model does not use" in note
    assert r"vision\x1b[2J.patch.weight" in caplog.text
    assert torch.equal(logits(model), before)


def test_masks_and_tables_of_older_checkpoints_are_no_weights(copy):
    """They were kept as buffers in every layer, and are computed now."""
    old = {"self_attn.rotary_emb.cos_cached": 4, "self_attn.masked_bias": 1, "attn.bias": 9}
    before = logits(el.load(copy))
    added = {f"model.layers.1.{key}": torch.zeros(n) for key, n in old.items()}
    change_weights(copy, lambda w: w | added)
    model = el.load(copy)
    assert info(model).notes == ()
    assert torch.equal(logits(model), before)


def test_blocks_that_predict_further_ahead_are_left_out(copy):
    """As DeepSeek-V3 and GLM-4 MoE keep them: behind the last layer, announced in the config."""
    extra = {"model.layers.4.mlp.down_proj.weight": torch.zeros(128, 256)}
    change_weights(copy, lambda w: w | extra)
    assert "layers 4 that" in refusal(copy)
    change_config(copy, num_nextn_predict_layers=1)
    assert len(info(el.load(copy)).notes) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-lfs pointer"),
        (b"", "is broken, or was not downloaded whole"),
        (b"not weights at all" * 99, "is broken, or was not downloaded whole"),
    ],
    ids=["pointer", "empty", "garbage"],
)
@pytest.mark.parametrize("shards", [False, True])
def test_file_that_holds_no_weights_is_named(copy, content, said, shards):
    if shards:
        into_shards(copy)
    (copy / ("b.safetensors" if shards else WEIGHTS)).write_bytes(content)
    message = refusal(copy)
    assert said in message
    assert ("b.safetensors" if shards else WEIGHTS) in message


def test_truncated_weights_are_refused(copy):
    whole = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    assert "is broken, or was not downloaded whole" in refusal(copy)


@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", pickle.dumps(print, protocol=2), pickle.dumps([1], protocol=2)],
    ids=["empty", "garbage", "code", "a list"],
)
def test_pickled_weights_that_cannot_be_read_are_refused(copy, content):
    (copy / WEIGHTS).unlink()
    (copy / PICKLE).write_bytes(content)
    message = refusal(copy)
    assert "is broken, or was not downloaded whole" in message
    assert PICKLE in message


def test_pickled_weights_kept_as_whole_numbers_are_refused(copy):
    weights = {
        key: (value * 100).to(torch.int8) for key, value in load_file(copy / WEIGHTS).items()
    }
    (copy / WEIGHTS).unlink()
    torch.save(weights, copy / PICKLE)
    assert "as torch.int8, and its config.json does not say how" in refusal(copy)


def test_pickled_weights_are_loaded(copy):
    before = logits(el.load(copy))
    torch.save(load_file(copy / WEIGHTS), copy / PICKLE)
    (copy / WEIGHTS).unlink()
    assert torch.equal(logits(el.load(copy)), before)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"model.norm.weight": "/etc/passwd"}, "names '/etc/passwd'"),
        ({"model.norm.weight": "../other/model.safetensors"}, "names '../other/"),
        ({"model.norm.weight": "notes.txt"}, "names 'notes.txt'"),
        ({"model.norm.weight": "c.safetensors"}, "c.safetensors' is missing"),
        ({"model.norm.weight": 7}, "is not an index of weight files"),
        (["a.safetensors"], "is not an index of weight files"),
        ("a.safetensors", "is not an index of weight files"),
    ],
)
def test_index_that_names_no_file_of_the_folder_is_refused(copy, named, said):
    into_shards(copy, named)
    message = refusal(copy)
    assert said in message
    assert INDEX in message or "missing" in message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 99_999])
def test_index_that_is_not_json_is_refused(copy, content):
    into_shards(copy)
    (copy / INDEX).write_bytes(content)
    assert "is not an index of weight files" in refusal(copy)


@pytest.mark.parametrize("moved", ["", "parts"])
def test_shards_are_loaded_from_folders_below_too(copy, moved):
    before = logits(el.load(copy))
    into_shards(copy, moved=moved)
    assert torch.equal(logits(el.load(copy)), before)
    assert [path.name for path in weight_files(copy)] == ["a.safetensors", "b.safetensors"]


def test_single_file_comes_before_an_index_as_in_transformers(copy):
    """The file that is loaded is the one that :func:`weight_files` names."""
    single = (copy / WEIGHTS).read_bytes()
    before = logits(el.load(copy))
    into_shards(copy)
    for path in copy.glob("?.safetensors"):
        save_file({k: v * 2 for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    doubled = logits(el.load(copy))
    (copy / WEIGHTS).write_bytes(single)
    assert weight_files(copy) == [copy / WEIGHTS]
    assert torch.equal(logits(el.load(copy)), before)
    assert not torch.equal(doubled, before)


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 10**9, 1e12])
@pytest.mark.parametrize("part", [None, "text_config"])
def test_number_of_layers_that_no_model_has_is_refused(copy, key, value, part):
    """Before anything is built: a list of a billion layers would never end."""
    change_config(copy, **({part: {key: value}} if part else {key: value}))
    assert f"says {key} {value}; 1 to 1000 was expected" in refusal(copy)


@pytest.mark.parametrize("key", ["vocab_size", "hidden_size", "intermediate_size"])
def test_width_that_no_model_has_is_refused(copy, key):
    change_config(copy, **{key: 10**12})
    assert f"says {key} 1000000000000" in refusal(copy)


def test_layers_of_pictures_are_no_layers_of_text(tiny_folder):
    """A multimodal checkpoint loaded for its text leaves its other layers out."""
    model = load_plain(tiny_folder("qwen3"))
    model.vision_layers = torch.nn.ModuleList([torch.nn.Linear(1, 1)])

    def checked(*keys):
        report = {"missing_keys": set(), "mismatched_keys": set(), "unexpected_keys": set(keys)}
        return check_loaded(model, report, "m")

    assert checked() == ()
    assert "tower.layers.9.weight" in checked("tower.layers.9.weight")[0]
    assert len(checked("vision_layers.9.weight", "vision_layers.0.gate.weight")) == 1
    with pytest.raises(EntangleError, match="of layers 9 that"):
        checked("model.layers.9.weight")
    with pytest.raises(EntangleError, match=r"hold model\.layers\.0\.gate\.weight"):
        checked("model.layers.0.gate.weight")
