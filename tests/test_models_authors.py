"""Checkpoints of others, the authors' and fairseq's: of any geometry, and broken ones."""

import argparse
import io
import json
import os
import pickle
import zipfile
from dataclasses import replace

import pytest
import torch
from transformers import Wav2Vec2Model

from authors_checkpoints import (
    BRANCHES,
    VARIANTS,
    BackEnd,
    Geometry,
    checkpoint,
    filled,
    front_end,
    front_end_shapes,
)
from cfbench.errors import CfbenchError
from cfbench.models.authors import authors_names, convert
from cfbench.models.fairseq import (
    MOST_CONVOLUTIONS,
    PRETRAINING,
    fairseq_config,
    fairseq_names,
    front_end_tensors,
    is_fairseq,
    read_config,
    read_fairseq,
)
from cfbench.models.wav2vec2_aasist import XLSR_300M, Wav2Vec2Aasist, wav2vec2_config

FRONT_END = "ssl_model.model."

XLSR_LIKE = Geometry()
STRIDED = ((6, 8, 4), (5, 4, 3), (7, 3, 2), (9, 2, 2), (10, 3, 1))
GEOMETRIES = {
    "M1": XLSR_LIKE,
    "M2": Geometry(bias=False, heads=4),
    "S_BIN": Geometry(layered=False, heads=8),
    "S_VQ": Geometry(layered=False, stable=False, bias=False, heads=2, activation="relu"),
    "S_AUX": Geometry(STRIDED, hidden=24, layers=3, heads=3, feed_forward=10, groups=3),
    "S_DEC": Geometry(positions=7, groups=2, heads=1, layers=1),
    "D_VQ": Geometry(hidden=8, heads=2, groups=8),
    "D_AUX": Geometry(STRIDED, hidden=36, heads=12, layered=False, groups=1, positions=128),
    "D_DEC": Geometry(stable=False, feed_forward=64, layers=4),
}
"""One for each variant; D_VQ's has convolutions as wide as its transformer."""


def saved(path, content):
    torch.save(content, path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


@pytest.fixture
def whole(path):
    """A file with a small checkpoint, and what is in it."""
    state = checkpoint(XLSR_LIKE, ["dec"])
    return saved(path, state), state


def inner(state):
    """The front end's tensors under fairseq's names."""
    return {k.removeprefix(FRONT_END): v for k, v in state.items() if k.startswith(FRONT_END)}


def refusal(function, *arguments):
    with pytest.raises(CfbenchError) as caught:
        function(*arguments)
    # No traceback of a library's is shown with it.
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


def waves(count=3, samples=4000):
    return 0.1 * torch.randn(count, samples, generator=torch.Generator().manual_seed(5)).double()


def far(found, wanted):
    return (found - wanted).detach().abs().max().item()


# What a checkpoint computes


FAST = ("S_VQ", "S_AUX", "D_VQ")


@pytest.mark.parametrize(
    "variant",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS],
)
def test_a_converted_model_computes_what_the_checkpoint_says(path, variant):
    geometry, tasks = GEOMETRIES[variant], VARIANTS[variant]
    state = checkpoint(geometry, tasks)
    model = convert(saved(path, state), fairseq_config(geometry.settings()))
    assert model.config.tasks == list(tasks)
    assert not model.training
    double = {key: value.double() for key, value in state.items()}
    with torch.inference_mode():
        features = front_end(inner(double), geometry, waves())
        wanted = BackEnd(double)(features)
        model = model.double()
        assert far(model.front_end(waves()).last_hidden_state, features) < 1e-10
        found = model(waves()).logits
    assert set(found) == set(tasks)
    for task_id in tasks:
        assert far(found[task_id], wanted[task_id]) < 1e-10, task_id
        assert wanted[task_id].std(dim=0).min() > 1e-3, "clips must differ, or nothing is compared"


@pytest.mark.parametrize("variant", ["S_VQ", pytest.param("M1", marks=pytest.mark.slow)])
def test_a_training_step_has_the_gradients_of_the_checkpoints_own(path, variant):
    geometry, tasks = GEOMETRIES[variant], VARIANTS[variant]
    state = checkpoint(geometry, tasks)
    model = convert(saved(path, state), fairseq_config(geometry.settings())).double().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    double = {
        key: value.double().requires_grad_()
        for key, value in state.items()
        if value.is_floating_point()
    }
    wanted = BackEnd(double, training=True)(front_end(inner(double), geometry, waves()))
    found = model(waves()).logits
    for task_id in tasks:
        mixed = torch.randn(wanted[task_id].shape, dtype=torch.float64)
        (wanted[task_id] * mixed).sum().backward(retain_graph=True)
        (found[task_id] * mixed).sum().backward(retain_graph=True)
    theirs = authors_names(model)
    for name, value in model.named_parameters():
        if name == "task_weights":
            continue
        gradient = double[theirs[name]].grad
        assert far(value.grad, gradient) < 1e-8 * (1 + float(gradient.abs().max())), name
    without = {key for key, value in double.items() if value.grad is None} - set(theirs.values())
    assert without == set(double) - set(theirs.values())


def test_every_tensor_lands_where_its_name_says(path):
    state = checkpoint(XLSR_LIKE, VARIANTS["D_DEC"])
    model = convert(saved(path, state))
    theirs, own = authors_names(model), model.state_dict()
    assert set(own) - set(theirs) == {"task_weights"}
    assert len(set(theirs.values())) == len(theirs)
    for name, key in theirs.items():
        assert own[name].dtype == state[key].dtype
        assert torch.equal(own[name], state[key]), name
    left = {key for key in state if key not in theirs.values()}
    pretraining = {key for key in left if key.removeprefix(FRONT_END).startswith(PRETRAINING)}
    assert len(pretraining) == 8
    assert left - pretraining == {
        f"encoder.{block}.0.bn1.{part}"
        for block in range(1, 6)
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
    assert own["task_weights"].tolist() == [0.5, 0.5]
    assert not model.task_weights.requires_grad


def test_a_converted_model_is_trained_and_kept_like_any_other(whole, tmp_path):
    path, _ = whole
    model = convert(path)
    path.write_bytes(b"")  # it holds copies, not the file's pages
    model(waves().float(), {"dec": torch.tensor([0, 1, 1])}).loss.backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n != "task_weights")
    model.eval().save_pretrained(tmp_path / "saved")
    again = Wav2Vec2Aasist.from_pretrained(tmp_path / "saved").eval()
    with torch.inference_mode():
        before, after = model(waves().float()).logits, again(waves().float()).logits
    assert far(before["dec"], after["dec"]) < 1e-5


def test_half_precision_becomes_single(path):
    state = checkpoint(XLSR_LIKE, ["bin"])
    model = convert(
        saved(path, {k: v.half() if v.is_floating_point() else v for k, v in state.items()})
    )
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert torch.equal(model.encoder.projection.weight, state["LL.weight"].half().float())


# Keys


def test_what_pretraining_left_over_may_be_there_or_not(whole):
    path, state = whole
    kept = {k: v for k, v in state.items() if not k.removeprefix(FRONT_END).startswith(PRETRAINING)}
    assert len(state) - len(kept) == 8
    kept["ssl_model.model.target_glu.0.weight"] = torch.ones(2)
    before = convert(path)
    assert torch.equal(
        convert(saved(path, kept)).encoder.projection.weight, before.encoder.projection.weight
    )


@pytest.mark.parametrize("third", range(3))
def test_all_missing_and_unknown_keys_are_named(path, third):
    state = checkpoint(XLSR_LIKE, ["aux"])
    needed = [k for k in state if not k.removeprefix(FRONT_END).startswith(PRETRAINING)]
    missing = sorted(needed[third::3])
    unknown = ["encoder.0.0.bn1.weight", "fc.bias", "ssl_model.model.x"]
    state = {key: value for key, value in state.items() if key not in missing}
    state |= {key: torch.ones(1) for key in unknown}
    assert refusal(convert, saved(path, state)) == (
        f"{path}: {len(missing)} keys missing: {', '.join(missing)}\n"
        f"{path}: 3 keys unknown: {', '.join(unknown)}"
    )


# From each of these keys some size is read, or it is not used by the model.
TELLING = (
    "ssl_model.model.encoder.layer_norm.weight",
    "ssl_model.model.encoder.layers.0.fc1.weight",
    "ssl_model.model.encoder.pos_conv.0.weight_v",
    "ssl_model.model.feature_extractor.conv_layers.0.0.weight",
    "ssl_model.model.feature_extractor.conv_layers.0.2.1.weight",
    "ssl_model.model.feature_extractor.conv_layers.3.0.weight",
    "ssl_model.model.feature_extractor.conv_layers.6.0.bias",
    "ssl_model.model.layer_norm.weight",
    "ssl_model.model.post_extract_proj.weight",
    "LL.weight",
    "encoder.3.0.bn1.running_mean",
    "multiclass_branch_ds.HtrgGAT_layer_ST21.att_weight12",
)


@pytest.mark.parametrize("key", TELLING)
def test_a_missing_key_is_named_and_nothing_else(whole, key):
    path, state = whole
    del state[key]
    config = fairseq_config(XLSR_LIKE.settings()) if TELLING.index(key) % 2 else None
    assert refusal(convert, saved(path, state), config) == f"{path}: 1 key missing: {key}"


def test_a_missing_layer_is_named_key_by_key(path):
    state = checkpoint(replace(XLSR_LIKE, layers=3), ["vq"])
    gone = sorted(key for key in state if ".encoder.layers.1." in key)
    state = {key: value for key, value in state.items() if key not in gone}
    assert refusal(convert, saved(path, state)) == f"{path}: 16 keys missing: {', '.join(gone)}"


@pytest.mark.parametrize("number", [999, 999_999, 999_999_999])
def test_a_number_that_no_layer_has_makes_no_layers(whole, number):
    path, state = whole
    key = f"ssl_model.model.encoder.layers.{number}.fc1.weight"
    state[key] = torch.ones(2)
    said = refusal(convert, saved(path, state))
    assert said.endswith(f"{path}: 1 key unknown: {key}")
    assert said.count("missing") <= 1


def test_all_tensors_of_another_shape_are_named(whole):
    path, state = whole
    state["LL.weight"] = torch.ones(127, 32)
    state["multiclass_branch_ds.out_layer.bias"] = torch.ones(2)
    state["ssl_model.model.encoder.layers.1.fc1.weight"] = torch.ones(24)
    assert refusal(convert, saved(path, state)) == (
        f"{path}: 3 tensors of another shape: "
        "ssl_model.model.encoder.layers.1.fc1.weight (24,), wanted (24, 32); "
        "LL.weight (127, 32), wanted (128, 32); "
        "multiclass_branch_ds.out_layer.bias (2,), wanted (3,)"
    )


@pytest.mark.parametrize(
    "key",
    [
        "encoder.pos_conv.0.weight_v",
        "feature_extractor.conv_layers.2.0.weight",
        "encoder.layer_norm.weight",
        "encoder.layers.0.fc1.weight",
    ],
)
def test_telling_tensors_without_sizes(path, key):
    state = fairseq_state(XLSR_LIKE)
    for tensor in (torch.tensor(1.0), torch.ones(0), torch.ones(0, 0, 0)):
        content = {"model": {**state, key: tensor}}
        assert refusal(read_fairseq, saved(path, content)).startswith(f"{path}: ")


@pytest.mark.parametrize(("prefix", "nested"), [("module.", False), ("", True), ("module.", True)])
def test_a_checkpoint_of_several_gpus_or_inside_another(whole, prefix, nested):
    path, state = whole
    content = {prefix + key: value for key, value in state.items()}
    content = {"model": content, "epoch": 3, 4: "number"} if nested else content
    model = convert(saved(path, content))
    assert torch.equal(model.encoder.projection.weight, state["LL.weight"])


# The configuration


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("encoder_embed_dim", 48, "hidden_size is 32, the configuration says 48"),
        ("encoder_layers", 3, "num_hidden_layers is 2, the configuration says 3"),
        ("encoder_ffn_embed_dim", 25, "intermediate_size is 24, the configuration says 25"),
        ("conv_bias", False, "conv_bias is True, the configuration says False"),
        ("extractor_mode", "default", "feat_extract_norm is layer, the configuration says group"),
        ("conv_pos", 128, "num_conv_pos_embeddings is 16, the configuration says 128"),
        ("conv_pos_groups", 16, "num_conv_pos_embedding_groups is 4, the configuration says 16"),
        ("conv_feature_layers", "[(8,10,5)] * 7", "conv_kernel is [10, 3, 3, 3, 3, 2, 2], "
         "the configuration says [10, 10, 10, 10, 10, 10, 10]"),
    ],
)  # fmt: skip
def test_a_configuration_that_contradicts_the_weights(whole, setting, value, said):
    path, _ = whole
    config = fairseq_config({**XLSR_LIKE.settings(), setting: value})
    assert f"{path}: the front end's {said}" in refusal(convert, path, config)


def test_heads_that_do_not_divide(path):
    state = checkpoint(replace(XLSR_LIKE, hidden=24, heads=3), ["bin"])
    said = refusal(convert, saved(path, state))
    assert said.startswith(f"{path}: 16 attention heads do not divide 24 values\n")
    settings = replace(XLSR_LIKE, hidden=24, heads=0).settings()
    assert "0 attention heads do not divide 24" in refusal(convert, path, fairseq_config(settings))


@pytest.mark.parametrize(
    "geometry",
    [
        replace(XLSR_LIKE, convolutions=STRIDED),
        replace(XLSR_LIKE, convolutions=XLSR_LIKE.convolutions[:6]),
        replace(XLSR_LIKE, layered=False),
    ],
)
def test_weights_unlike_xlsrs_need_a_configuration(path, geometry):
    said = refusal(convert, saved(path, checkpoint(geometry, ["bin"])))
    count = len(geometry.convolutions)
    kernels = [kernel for _, kernel, _ in geometry.convolutions]
    assert f"the front end has {count} convolutions, kernels {kernels}, normalised" in said
    assert "give a configuration" in said


def test_without_a_configuration_it_is_that_of_xlsr(whole):
    config = convert(whole[0]).config.front_end
    assert config.num_attention_heads == 16
    assert config.conv_stride == [5, 2, 2, 2, 2, 2, 2]
    assert config.do_stable_layer_norm
    rates = ("hidden", "activation", "attention", "feat_proj")
    assert [getattr(config, f"{name}_dropout") for name in rates] == [0, 0, 0, 0]
    assert config.layerdrop == 0
    assert config.mask_time_prob == config.mask_feature_prob == 0
    assert not config.apply_spec_augment


def test_a_configuration_of_transformers(path, tmp_path):
    geometry = GEOMETRIES["S_AUX"]
    written = tmp_path / "config.json"
    fairseq_config(geometry.settings()).to_json_file(written)
    model = convert(saved(path, checkpoint(geometry, ["aux"])), read_config(written))
    assert model.config.front_end.conv_stride == [4, 3, 2, 2, 1]


@pytest.mark.parametrize("around", ["", "args", "model", "cfg.model", "fairseq.cfg.model"])
def test_a_configuration_of_fairseq(tmp_path, around):
    content = XLSR_LIKE.settings()
    for word in reversed(around.split(".") if around else []):
        content = {"_name": None, word: content}
    written = tmp_path / "config.json"
    written.write_text(json.dumps(content))
    config = read_config(written)
    assert config.num_attention_heads == 16
    assert config.conv_dim == [8] * 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the configuration cannot be read"),
        ("{", "the configuration cannot be read"),
        ("[" * 100_000, "the configuration cannot be read"),
        ("[]", "no configuration: a JSON object is wanted"),
        ("{}", "no configuration of a wav2vec 2.0 model"),
        ('{"model_type": "bert"}', "no configuration of a wav2vec 2.0 model"),
        ('{"model_type": "wav2vec2", "hidden_size": "big"}', "expected int, got str"),
        ('{"model_type": "wav2vec2", "conv_dim": [1, 2]}', "is incorrect"),
        ('{"conv_feature_layers": "[(8,10,5)]", "encoder_layers": 2}',
         "lack encoder_embed_dim, encoder_attention_heads, encoder_ffn_embed_dim"),
        (json.dumps({**XLSR_LIKE.settings(), "encoder_layers": "two"}), "expected int, got str"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_none(tmp_path, text, said):
    written = tmp_path / "config.json"
    written.write_text(text)
    told = refusal(read_config, written)
    assert told.startswith(f"{written}: ")
    assert said in told


def test_settings_that_make_no_model(whole):
    path, _ = whole
    config = fairseq_config({**XLSR_LIKE.settings(), "activation_fn": "nonsense"})
    said = refusal(convert, path, config)
    assert said == f"{path}: its sizes and settings make no model: KeyError: 'nonsense'"


def layers(said):
    """How fairseq's text on convolutions is read."""
    config = fairseq_config({**XLSR_LIKE.settings(), "conv_feature_layers": said})
    return list(zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True))


@pytest.mark.parametrize(
    "said",
    [
        "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
        " [(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]\n",
        "[(512,10,5), (512,3,2), (512,3,2)] + [(512,3,2)] * 2 + ([(512,2,2)]) * 2",
        [[512, 10, 5], *[[512, 3, 2]] * 4, *[[512, 2, 2]] * 2],
        ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2),
    ],
)
def test_convolutions_are_read(said):
    assert layers(said) == [(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2


@pytest.mark.parametrize(
    "said",
    [
        "__import__('os').system('touch hacked')",
        "[(1,1,1)] * __import__('os')",
        "[(1,1,1)] * 10**9",
        "[(1,1,1)] * 1000000000",
        "[(1,1,1)] * -1",
        "[(1,1,1)] * True",
        "[(1,1,1)]" + " * 60" * 6,
        "[[[(1,1,1)] * 64] * 64]",
        "([(1,1,1)] * 64 + [(1,1,1)] * 64) * 64",
        "[(1,1,1)] + " * 5000 + "[(1,1,1)]",
        "(" * 5000,
        "-" * 100_000 + "1",
        "",
        "[]",
        "[] * 5",
        "7",
        "2 * 3",
        "'abc' * 3",
        "(1,1,1)",
        "[(1,1)]",
        "[(1,1,1,1)]",
        "[1]",
        "[(0,1,1)]",
        "[(1,-1,1)]",
        "[(1,1,1.5)]",
        "[(True,1,1)]",
        "[('1',1,1)]",
        "[(1,1,1) for _ in range(10)]",
        "[(1,1,1)",
        "\x00",
        None,
        7,
        {},
        [[1, 2]],
        [[1, 1, 1]] * (MOST_CONVOLUTIONS + 1),
    ],
)
def test_convolutions_that_are_refused(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = refusal(layers, said)
    assert told.startswith("the configuration: conv_feature_layers ")
    assert len(told) < 400
    assert not list(tmp_path.iterdir())


# Files


class Hostile:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("how", ["zip", "legacy", "in a namespace"])
@pytest.mark.parametrize("reader", [convert, read_fairseq])
def test_nothing_in_a_file_is_executed(tmp_path, path, how, reader):
    hostile = Hostile(tmp_path / "hacked")
    content = {"model": {"x": torch.ones(1)}, "args": hostile}
    if how == "in a namespace":
        torch.save({"args": argparse.Namespace(hostile=hostile)}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    said = refusal(reader, path)
    assert not (tmp_path / "hacked").exists()
    assert f"{path}: holds more than tensors and plain data: it asks for {os.name}.mkdir\n" in said
    # torch advises to load it all the same.
    assert "weights_only" not in said


def test_nothing_in_a_plain_pickle_is_executed(tmp_path, path):
    path.write_bytes(pickle.dumps(Hostile(tmp_path / "hacked")))
    assert "not a checkpoint of torch" in refusal(convert, path)
    assert not (tmp_path / "hacked").exists()


def test_objects_of_other_packages_are_refused(path):
    said = refusal(convert, saved(path, torch.nn.Linear(1, 1)))
    assert "it asks for torch.nn.modules.linear.Linear\n" in said


def of_zip(name):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(name, "x")
    return written.getvalue()


def of_torch(legacy=False):
    written = io.BytesIO()
    torch.save({"a": torch.ones(9)}, written, _use_new_zipfile_serialization=not legacy)
    return written.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        b"hello",
        b"<!DOCTYPE html><html></html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        bytes(1000),
        of_zip("a.txt"),
        of_zip("a/data.pkl"),
        of_torch()[:700],
        of_torch(legacy=True)[:-3],
        pickle.dumps({"a": 1})[:-4],
    ],
)
def test_files_that_are_no_checkpoints(path, data):
    path.write_bytes(data)
    said = refusal(convert, path)
    assert said.startswith(f"{path}: not a checkpoint of torch, or cut short ({len(data):,} bytes)")
    assert "weights_only" not in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        ({}, "holds no tensors"),
        ({"model": {}}, "holds no tensors"),
        ({"model": {"a": 1}, "epoch": 3}, "holds no tensors"),
        ({1: torch.ones(1)}, "holds no tensors"),
        ({"a": torch.ones(1)}, "none of the authors' Wav2Vec2-AASIST checkpoints"),
    ],
)
def test_files_that_hold_something_else(path, content, said):
    assert f"{path}: {said}" in refusal(convert, saved(path, content))


def test_a_file_that_is_not_there(path, tmp_path):
    assert refusal(convert, path).startswith(f"{path}: no such file")
    assert refusal(read_fairseq, tmp_path).startswith(f"{tmp_path}: no such file")


def test_a_file_that_may_not_be_read(whole):
    path, _ = whole
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")
    assert refusal(convert, path).startswith(f"{path}: cannot be read")


def test_a_damaged_file_is_told_from_a_whole_one(whole):
    path, _ = whole
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    said = refusal(convert, path)
    assert said.startswith(f"{path}: damaged: its part model/data/")


def test_the_older_format_of_torch_is_read(path):
    state = checkpoint(XLSR_LIKE, ["dec"])
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert torch.equal(convert(path).encoder.projection.weight, state["LL.weight"])


# Front ends of fairseq


def fairseq_state(geometry):
    return filled(front_end_shapes(geometry))


def test_each_kind_of_checkpoint_is_told_from_the_other(path):
    said = refusal(convert, saved(path, {"model": fairseq_state(XLSR_LIKE)}))
    assert "it has no keys of a branch (binary_branch, multiclass_branch_qs" in said
    assert "given as the front end of a recipe" in said
    said = refusal(read_fairseq, saved(path, checkpoint(XLSR_LIKE, ["bin"])))
    assert "it has no keys feature_extractor.*\n" in said
    assert "cfbench convert-checkpoint" in said
    said = refusal(read_fairseq, saved(path, {"a": torch.ones(1)}))
    assert said.endswith("it has a")


def test_only_branches_without_a_front_end(path):
    state = {k: v for k, v in checkpoint(XLSR_LIKE, ["bin"]).items() if not k.startswith("ssl")}
    assert "it has no keys ssl_model.model.*\n" in refusal(convert, saved(path, state))


@pytest.mark.parametrize(
    ("name", "say"),
    [
        ("S_AUX", lambda settings: {"cfg": {"model": settings, "task": {}}, "args": None}),
        ("S_VQ", lambda settings: {"args": argparse.Namespace(**settings), "cfg": None}),
        ("D_VQ", lambda settings: {"cfg": {"model": argparse.Namespace(**settings)}}),
    ],
)
def test_a_front_end_computes_what_its_checkpoint_says(path, say, name):
    geometry = GEOMETRIES[name]
    state = fairseq_state(geometry)
    model = read_fairseq(saved(path, {"model": state, **say(geometry.settings())}))
    assert isinstance(model, Wav2Vec2Model)
    double = {key: value.double() for key, value in state.items()}
    with torch.inference_mode():
        found = model.double().eval()(waves(1)).last_hidden_state
        assert far(found, front_end(double, geometry, waves(1))) < 1e-10


def test_a_front_end_that_says_nothing_of_itself_is_like_xlsr(path):
    model = read_fairseq(saved(path, {"model": fairseq_state(XLSR_LIKE), "cfg": None}))
    assert model.config.num_attention_heads == 16
    assert model.config.attention_dropout == model.config.layerdrop == 0


def test_settings_of_a_recipe_come_before_the_checkpoints(path):
    saved(path, {"model": fairseq_state(XLSR_LIKE), "cfg": {"model": XLSR_LIKE.settings()}})
    model = read_fairseq(path, {"hidden_dropout": 0.3, "mask_time_prob": 0.5})
    assert model.config.hidden_dropout == 0.3
    assert model.config.mask_time_prob == 0
    said = refusal(read_fairseq, path, {"num_attention_heads": 5})
    assert said.startswith(f"{path}: its sizes and settings make no model: ValueError: ")
    said = refusal(read_fairseq, path, {"hidden_dropout": "high"})
    assert said.startswith(f"{path}: ")
    assert "hidden_dropout" in said
    said = refusal(read_fairseq, path, {"intermediate_size": 25})
    assert (
        "6 tensors of another shape: encoder.layers.0.fc1.weight (24, 32), wanted (25, 32)" in said
    )


def test_a_front_ends_keys_are_all_named(path):
    state = fairseq_state(XLSR_LIKE)
    state["encoder.x"] = state.pop("encoder.layers.1.fc2.bias")
    del state["layer_norm.bias"]
    assert refusal(read_fairseq, saved(path, {"model": state})) == (
        f"{path}: 2 keys missing: encoder.layers.1.fc2.bias, layer_norm.bias\n"
        f"{path}: 1 key unknown: encoder.x"
    )


def test_a_configuration_that_refers_to_itself_is_none(path):
    circle = {"model": {}}
    circle["cfg"] = circle
    assert fairseq_config(circle) is None


def test_where_fairseq_checkpoints_are_told_by_name():
    assert [is_fairseq(name) for name in ("a/xlsr2_300m.pt", "b.pth", "lab/model", "folder")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_the_names_of_the_published_xlsr(golden):
    shapes = json.loads((golden / "model" / "xlsr300m_fairseq_keys_shapes.json").read_text())
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    kept = front_end_tensors(state)
    assert (len(state), len(kept)) == (429, 421)
    with torch.device("meta"):
        model = Wav2Vec2Model(wav2vec2_config({**XLSR_300M, "mask_time_prob": 0.0}, "here"))
    theirs = fairseq_names(model)
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == {
        name: tuple(kept[key].shape) for name, key in theirs.items()
    }
    assert sorted(theirs.values()) == sorted(kept)


def test_branches_are_those_of_the_authors():
    from cfbench.models import authors

    assert {task_id: name for task_id, (name, _) in BRANCHES.items()} == authors.BRANCHES
