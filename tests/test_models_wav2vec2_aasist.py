"""The reference system: its configuration, losses, memory, and that it learns."""

import copy
import inspect
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

import speech
from authors_checkpoints import VARIANTS
from cfbench.errors import CfbenchError
from cfbench.models import aasist, wav2vec2_aasist
from cfbench.models.aasist import Dropouts, GraphBranch, GraphPool
from cfbench.models.batch_norm import MapNorm, NodeNorm, share_batch_norm
from cfbench.models.encoder import ResidualEncoder
from cfbench.models.quantized import quantized
from cfbench.models.wav2vec2_aasist import (
    NO_MASKING,
    XLSR_300M,
    Wav2Vec2Aasist,
    Wav2Vec2AasistConfig,
)

FRONT_END = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "conv_bias": True,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "layerdrop": 0.0,
    **NO_MASKING,
}
CLASSES = {"bin": 2, "vq": 4, "aux": 4, "dec": 3}


def build(tasks=("bin", "vq", "aux", "dec"), seed=0, dropouts=(0.0,) * 4, **settings):
    """A small model; by default without dropout."""
    torch.manual_seed(seed)
    settings = {"samples": 4800, "dropouts": dropouts, **settings}
    return Wav2Vec2Aasist(Wav2Vec2AasistConfig({**FRONT_END}, tasks, **settings))


def noise(count=4, samples=4800, seed=3):
    return 0.1 * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))


def some_labels(tasks, count=4):
    return {task_id: torch.arange(count) % CLASSES[task_id] for task_id in tasks}


def far(found, wanted):
    return (found - wanted).detach().abs().max().item()


# Configuration


def test_the_default_is_the_reference_system():
    config = Wav2Vec2AasistConfig()
    assert config.tasks == ["bin", "vq", "aux", "dec"]
    assert config.samples == 64_600
    assert config.classes["vq"] == ["real", "mvq", "svq", "sq"]
    assert config.class_weights == {
        "bin": [0.1, 0.9],
        "vq": [0.1, 0.3, 0.3, 0.3],
        "aux": [0.1, 0.3, 0.3, 0.3],
        "dec": [0.1, 0.45, 0.45],
    }
    assert config.dropouts == [0.2, 0.3, 0.2, 0.5]
    assert {name: getattr(config.front_end, name) for name in XLSR_300M} == XLSR_300M
    with torch.device("meta"):
        model = Wav2Vec2Aasist(config)
    sizes = {
        name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()
    }
    # Hugging Face counts 315,438,720: the 1,024 of the mask embedding are not used here.
    assert sizes["front_end"] == 315_437_696
    assert sum(sizes.values()) < 318_000_000


@pytest.mark.parametrize("tasks", VARIANTS.values(), ids=VARIANTS)
def test_each_variant_answers_its_tasks(tasks):
    model = build(tasks[::-1]).eval()
    assert model.config.tasks == list(tasks)
    with torch.inference_mode():
        output = model(noise(2))
    assert {task: tuple(value.shape) for task, value in output.logits.items()} == {
        task: (2, CLASSES[task]) for task in tasks
    }
    assert all(value.shape == (2, 160) for value in output.readout.values())
    assert output.loss is None
    assert output.task_losses is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tasks": ["codec"]}, "codec"),
        ({"tasks": []}, "a model without tasks"),
        ({"classes": {"bin": ["bonafide", "spoof"]}}, "the model's classes are"),
        ({"classes": {"vq": ["real", "mvq", "svq", "sq"]}}, "the model's classes are"),
        ({"class_weights": {"bin": [1.0]}}, "1 class weights for bin, which has 2 classes"),
        ({"class_weights": {"codec": [1.0]}}, "codec"),
        ({"dropouts": [0.5]}, "1 dropout rates of a branch"),
        ({"front_end": {"hidden_size": "big"}}, "expected int, got str"),
        ({"front_end": {"conv_dim": [8, 8]}}, "the model's front end: "),
        ({"pre_emphasis": 1.0}, "a pre-emphasis of 1.0"),
        ({"samples": 1039}, "a window of 1,039 samples makes 2 frames of the front end"),
        ({"samples": 100}, "a window of 100 samples makes 0 frames of the front end"),
        ({"windows": 0}, "0 windows of a clip"),
        ({"samples": 10_000_001}, "a window of 10,000,001 samples"),
    ],
)
def test_a_configuration_that_fits_no_model(settings, said):
    with pytest.raises(CfbenchError) as caught:
        Wav2Vec2AasistConfig(**{"tasks": ["bin"], **settings})
    assert said in str(caught.value)


def test_all_that_is_wrong_with_a_configuration_is_said():
    with pytest.raises(CfbenchError) as caught:
        Wav2Vec2AasistConfig(tasks=["bin"], class_weights={"bin": [1]}, dropouts=[], samples=9)
    said = [problem.message for problem in caught.value.problems]
    assert len(said) == 3


def test_pre_emphasis_takes_off_the_sample_before():
    plain, emphasised = (build(pre_emphasis=value).eval() for value in (0.0, 0.97))
    emphasised.load_state_dict(plain.state_dict())
    waves = noise(2)
    less = waves.clone()
    less[:, 1:] -= 0.97 * waves[:, :-1]
    with torch.inference_mode():
        expected, found = plain(less).logits, emphasised(waves).logits
        other = plain(waves).logits
    for task_id, value in found.items():
        torch.testing.assert_close(value, expected[task_id])
        assert far(value, other[task_id]) > 1e-4


def test_an_answer_for_several_windows_is_the_mean_of_their_logits():
    model = build(windows=3).eval()
    waves = noise(6).reshape(2, 3, -1)
    labels = some_labels(CLASSES, 2)
    with torch.no_grad():
        whole, apart = model(waves, labels), [model(waves[:, index]) for index in range(3)]
    for task_id, logits in whole.logits.items():
        for found, parts in (
            (logits, [one.logits[task_id] for one in apart]),
            (whole.readout[task_id], [one.readout[task_id] for one in apart]),
        ):
            assert found.shape == parts[0].shape
            assert far(found, sum(parts) / 3) < 1e-6
    assert far(whole.loss, model.loss(whole.logits, labels)[0]) == 0


def test_class_weights_of_some_tasks():
    config = Wav2Vec2AasistConfig(tasks=["bin", "dec"], class_weights={"DEC": (1, 2, 3)})
    assert config.class_weights == {"bin": [0.1, 0.9], "dec": [1, 2, 3]}


@pytest.mark.parametrize("samples", [1040, 1999, 2000, 4800])
def test_the_shortest_windows(samples):
    model = build(["vq"], samples=samples).train()
    model(noise(2, samples), some_labels(["vq"], 2)).loss.backward()
    with torch.inference_mode():
        assert model.eval()(noise(1, samples)).logits["vq"].isfinite().all()


# Files


def test_what_is_saved_is_loaded(tmp_path):
    model = build(
        ["vq", "dec"],
        class_weights={"vq": (1.0, 2.0, 3.0, 4.0)},
        learned_task_weights=True,
        dropouts=(0.1, 0.2, 0.3, 0.4),
    )
    with torch.no_grad():
        model.task_weights.copy_(torch.tensor([0.3, 0.9]))
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    said = json.loads((tmp_path / "config.json").read_text())
    assert said["model_type"] == "wav2vec2-aasist"
    assert said["classes"] == {
        "vq": ["real", "mvq", "svq", "sq"], "dec": ["real", "time", "freq"],
    }  # fmt: skip
    again, info = Wav2Vec2Aasist.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    before, after = model.config.to_dict(), again.config.to_dict()
    for config in (before, after):
        for part in (config, config["front_end"]):
            for name in ("_name_or_path", "dtype", "architectures", "transformers_version"):
                part.pop(name, None)
    assert before == after
    assert again.task_weights.requires_grad
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert again.branches["vq"].dropout.p == 0.4
    with torch.inference_mode():
        found, wanted = again.eval()(noise()).logits, model.eval()(noise()).logits
    assert all(far(found[task], wanted[task]) < 1e-5 for task in wanted)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": {"bin": ["bonafide", "spoof"]}}, "made with another version of the tasks"),
        ({"tasks": ["vq"]}, "the model's classes are"),
        ({"class_weights": {"bin": [0.5]}}, "1 class weights for bin"),
    ],
)
def test_a_changed_configuration_is_refused(tmp_path, change, said):
    build(["bin"]).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CfbenchError) as caught:
        Wav2Vec2Aasist.from_pretrained(tmp_path)
    assert said in str(caught.value)


def test_what_a_file_lacks_is_drawn_and_what_it_has_is_kept(tmp_path):
    model = build(["bin"], learned_task_weights=True)
    with torch.no_grad():
        for name, value in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.uniform_(2, 3)
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    gone = {
        "task_weights",
        "attention.score.0.weight",
        "encoder.norm_in.bias",
        "branches.bin.position",
        "branches.bin.output.weight",
        "branches.bin.stacks.0.master",
        "branches.bin.spectral_attention.pair_weight",
        "branches.bin.stacks.1.attention2.mixed_weight",
    }
    save_file({k: v for k, v in state.items() if k not in gone}, path, {"format": "pt"})
    again, info = Wav2Vec2Aasist.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == gone
    for name, value in again.state_dict().items():
        if name not in gone:
            assert torch.equal(value, state[name]), name
    drawn = {name: value.detach() for name, value in again.named_parameters() if name in gone}
    assert drawn["task_weights"].tolist() == [1.0]
    assert not drawn["encoder.norm_in.bias"].any()
    for name in gone - {"task_weights", "encoder.norm_in.bias"}:
        assert float(drawn[name].std()) == pytest.approx(float(state[name].std()), rel=0.5), name


def test_hub_methods_are_those_of_transformers():
    for name in ("push_to_hub", "from_pretrained", "save_pretrained"):
        assert inspect.getattr_static(Wav2Vec2Aasist, name) is inspect.getattr_static(
            PreTrainedModel, name
        )


_HUB = """
import json, os, pathlib, sys
sys.path.insert(0, sys.argv[2])
from hub_server import Hub
home = pathlib.Path(sys.argv[1])
with Hub() as hub:
    os.environ.update(hub.environment(home / "cache"))
    from cfbench.models.wav2vec2_aasist import Wav2Vec2Aasist
    hub.add_folder("lab/tiny", home / "saved")
    loaded = Wav2Vec2Aasist.from_pretrained("lab/tiny")
    loaded.save_pretrained(home / "loaded")
    print(json.dumps(sorted({s.path for s in hub.seen if s.status == 200})))
"""


@pytest.mark.slow
def test_a_model_is_loaded_from_the_hub(tmp_path):
    model = build(["aux"])
    model.save_pretrained(tmp_path / "saved")
    script = [sys.executable, "-c", _HUB, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(script, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    names = {path.rpartition("/")[2] for path in json.loads(done.stdout.splitlines()[-1])}
    assert {"config.json", "model.safetensors"} <= names
    loaded = load_file(tmp_path / "loaded" / "model.safetensors")
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())


# Losses


def test_the_loss_is_the_weighted_cross_entropy():
    tasks = ("bin", "vq", "aux", "dec")
    model = build(tasks, learned_task_weights=True)
    rates = (0.4, -0.2, 0.1, 0.7)
    with torch.no_grad():
        model.task_weights.copy_(torch.tensor(rates))
    labels = some_labels(tasks)
    output = model(noise(), labels)
    wanted = []
    for task_id in tasks:
        logits = output.logits[task_id].detach().double().numpy()
        truth = labels[task_id].numpy()
        weights = np.array(model.config.class_weights[task_id])[truth]
        surprise = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(4), truth]
        wanted.append((weights * surprise).sum() / weights.sum())
        assert output.task_losses[task_id].item() == pytest.approx(wanted[-1], rel=1e-5)
    shares = np.exp(rates) / np.exp(rates).sum()
    assert output.loss.item() == pytest.approx((shares * wanted).sum(), rel=1e-5)
    # Of a softmax: each share times how far its loss is from the weighted mean.
    output.loss.backward()
    gradient = shares * (np.array(wanted) - (shares * wanted).sum())
    assert model.task_weights.grad.numpy() == pytest.approx(gradient, abs=1e-6)


def test_parts_of_a_batch_add_up_to_its_loss():
    model, labels = build(["bin"]), some_labels(["bin"])
    logits = model(noise()).logits
    whole, _ = model.loss(logits, labels)
    summed = model.class_weight("bin")[labels["bin"]].sum()
    parts = [
        model.loss({"bin": logits["bin"][rows]}, {"bin": labels["bin"][rows]}, lambda _: summed)[0]
        for rows in ([0, 1, 2], [3])
    ]
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-6)


def test_task_weights_are_equal_and_fixed_unless_they_are_learned():
    model = build(["vq", "aux", "dec"])
    assert model.task_weights.tolist() == pytest.approx([1 / 3] * 3)
    assert not model.task_weights.requires_grad
    output = model(noise(), some_labels(["vq", "aux", "dec"]))
    mean = sum(output.task_losses.values()) / 3
    assert output.loss.item() == pytest.approx(mean.item(), rel=1e-6)


# Gradients


# In exact arithmetic these change nothing: their gradient is rounding, or zero.
NO_EFFECT = (
    "k_proj.bias",  # the same for all keys: a softmax over them does not see it
    "conv1.bias",  # a batch normalisation follows
    "encoder.blocks.5.conv2.bias",  # the same, for the last block: the shortcut is the identity
    "mixture_projection.bias",  # the same (but not for the master node, which has none)
    "own_projection.bias",
    "attention.score.2.bias",  # the same at all places of a channel, as the softmaxes are over
    "attention.score.3.bias",
)


@pytest.mark.parametrize("tasks", VARIANTS.values(), ids=VARIANTS)
def test_every_parameter_gets_a_gradient(tasks):
    model = build(tasks, learned_task_weights=True).double().train()
    model(noise().double(), some_labels(tasks)).loss.backward()
    gradients = {name: value.grad for name, value in model.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    norms = {name: gradient.norm().item() for name, gradient in gradients.items()}
    assert all(map(math.isfinite, norms.values()))
    idle = {name for name in norms if name.endswith(NO_EFFECT) and ".master_" not in name}
    if len(tasks) == 1:
        idle.add("task_weights")  # one task has all the weight
    assert max(norms[name] for name in idle) < 1e-14
    assert min(norm for name, norm in norms.items() if name not in idle) > 1e-9


def test_gradient_checkpointing_changes_nothing():
    plain = build(["vq"], dropouts=(0.2, 0.3, 0.2, 0.5)).train()
    less = copy.deepcopy(plain)
    less.activation_checkpointing_enable()
    assert less.front_end.encoder.gradient_checkpointing
    for model in (plain, less):
        torch.manual_seed(1)
        model(noise(), some_labels(["vq"])).loss.backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), less.named_parameters(), strict=True):
        if name != "task_weights":
            assert far(a.grad, b.grad) < 1e-6, name


# Memory


class Kept:
    """What the backward pass will need of a branch's forward pass, its parameters apart."""

    def __init__(self, branch, spectral, temporal):
        own = {value.untyped_storage().data_ptr() for value in branch.parameters()}
        self.storages = {}
        self.largest = 0

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                self.storages[storage.data_ptr()] = storage
                self.largest = max(self.largest, tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self.logits, _ = branch(spectral, temporal)

    @property
    def size(self):
        return sum(storage.nbytes() for storage in self.storages.values())


def test_pairs_of_nodes_are_not_kept(monkeypatch):
    clips, batch, mebi = 2, 64, 2**20
    torch.manual_seed(0)
    branch = GraphBranch(42, 4, Dropouts()).train()
    spectral = torch.randn(clips, 42, 64, requires_grad=True)
    temporal = torch.randn(clips, 67, 64, requires_grad=True)
    torch.manual_seed(1)
    kept = Kept(branch, spectral, temporal)
    # N^2 values a clip are the attention itself; D values for each of N (N + 1) / 2 pairs would be
    # 16 or 32 times that.
    assert kept.largest <= clips * 67 * 67
    # For a batch of 64: 37 MiB a branch, where the authors' code keeps 444.
    assert kept.size / clips * batch < 40 * mebi

    monkeypatch.setattr(aasist, "recomputed", lambda function, *arguments: function(*arguments))
    torch.manual_seed(1)
    plain = Kept(branch, spectral, temporal)
    assert plain.largest == clips * 67 * 68 // 2 * 64
    assert plain.size / clips * batch > 200 * mebi

    # And the gradients are the same.
    gradients = [
        torch.autograd.grad(one.logits.square().sum(), [spectral, temporal, *branch.parameters()])
        for one in (kept, plain)
    ]
    for with_less, with_all in zip(*gradients, strict=True):
        assert far(with_less, with_all) < 1e-5 * (1 + float(with_all.abs().max()))


# Attention of the front end


def count_fused(monkeypatch):
    """A list that grows with each call of PyTorch's fused attention."""
    calls = []
    fused = nn.functional.scaled_dot_product_attention

    def counted(*arguments, **settings):
        calls.append(1)
        return fused(*arguments, **settings)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", counted)
    return calls


def test_attention_is_fused(monkeypatch, tmp_path):
    calls = count_fused(monkeypatch)
    model = build(["bin"]).eval()
    model.save_pretrained(tmp_path)
    loaded = Wav2Vec2Aasist.from_pretrained(tmp_path).eval()
    plain = Wav2Vec2Aasist.from_pretrained(tmp_path, attn_implementation="eager").eval()
    for one, name in ((model, "sdpa"), (loaded, "sdpa"), (plain, "eager")):
        assert one.config._attn_implementation == name
        assert one.front_end.config._attn_implementation == name
        calls.clear()
        with torch.inference_mode():
            one(noise())
        assert len(calls) == (2 if name == "sdpa" else 0)
    with torch.inference_mode():
        fast, slow = loaded(noise()), plain(noise())
    assert far(fast.logits["bin"], slow.logits["bin"]) < 1e-5
    assert far(fast.readout["bin"], slow.readout["bin"]) < 1e-5


def test_only_the_front_end_computes_in_half_precision():
    model = build(["bin"]).train()
    seen = {}
    model.front_end.register_forward_hook(
        lambda _, __, made: seen.update(front_end=made.last_hidden_state.dtype)
    )
    model.encoder.register_forward_hook(lambda _, __, made: seen.update(encoder=made.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(noise(), some_labels(["bin"]))
    assert output.loss.dtype == output.logits["bin"].dtype == seen["encoder"] == torch.float32
    output.loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


# Parts


def test_pooling_keeps_the_better_half_times_its_score():
    pool = GraphPool(2, 0.0)
    with torch.no_grad():
        pool.score.weight.copy_(torch.tensor([[1.0, 0.0]]))
        pool.score.bias.zero_()
    x = torch.tensor([[[-1.0, 5], [2, 6], [0, 7], [1, 8], [-3, 9]]])
    found = pool(x)
    weights = torch.sigmoid(torch.tensor([2.0, 1.0]))
    assert torch.allclose(found, x[:, [1, 3]] * weights[:, None])
    assert pool(x[:, :1]).shape == (1, 1, 2)


def test_the_encoder_makes_a_third_of_values_and_frames():
    with torch.inference_mode():
        assert ResidualEncoder(16)(torch.randn(2, 201, 16)).shape == (2, 64, 42, 67)
        assert ResidualEncoder(16, 30)(torch.randn(2, 14, 16)).shape == (2, 64, 10, 4)


# Batch normalisation over processes


@pytest.fixture
def one_process(tmp_path):
    """A process group of this process alone."""
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("norm", "shape"), [(MapNorm, (3, 5, 4, 2)), (NodeNorm, (3, 7, 5))])
def test_shared_batch_norm_is_batch_norm(one_process, norm, shape):
    torch.manual_seed(0)
    plain = norm(5)
    with torch.no_grad():
        for value in (*plain.parameters(), plain.running_mean, plain.running_var):
            value.uniform_(0.5, 2)
    shared = copy.deepcopy(plain)
    share_batch_norm(shared)
    assert shared.shared
    assert not plain.shared
    found = []
    for one in (plain, shared):
        x = (3 + torch.randn(shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
        for _ in range(2):
            y = one(x)
        mixed = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        (y * mixed).sum().backward()
        state = [one.running_mean, one.running_var, one.num_batches_tracked.float()]
        found.append([y, x.grad, one.weight.grad, one.bias.grad, *state, one.eval()(x)])
    for a, b in zip(*found, strict=True):
        assert far(a, b) < 1e-5
    assert int(shared.num_batches_tracked) == 2


def test_a_model_with_shared_batch_norm_learns_the_same(one_process):
    plain = build(["bin"], learned_task_weights=True).double().train()
    shared = copy.deepcopy(plain)
    share_batch_norm(shared)
    norms = [module for module in shared.modules() if isinstance(module, MapNorm | NodeNorm)]
    assert len(norms) == 15
    assert all(module.shared for module in norms)
    for model in (plain, shared):
        model(noise().double(), some_labels(["bin"])).loss.backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), shared.named_parameters(), strict=True):
        assert far(a.grad, b.grad) < 1e-10, name
    state = shared.state_dict()
    for name, value in plain.state_dict().items():
        assert far(value.double(), state[name].double()) < 1e-10, name


# Eight-bit integers


def test_a_quantised_model_answers_nearly_the_same():
    model = build().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    less = quantized(model)
    with torch.inference_mode():
        found, wanted = less(noise()), model(noise())
        features = [one.front_end(noise()).last_hidden_state for one in (less, model)]
    assert not any(isinstance(m, torch.ao.nn.quantized.dynamic.Linear) for m in model.modules())
    layers = [m for m in less.modules() if isinstance(m, torch.ao.nn.quantized.dynamic.Linear)]
    assert len(layers) == 2 * 6
    assert 0 < far(*features) < 0.1
    for task_id, logits in wanted.logits.items():
        assert far(found.logits[task_id], logits) < 0.1, task_id
    assert set(before) == set(model.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Learning


@pytest.fixture(scope="module")
def clips():
    """32 clips: eight sounds, each as it is and through three made-up codecs; and their labels."""
    samples = 4800
    waves, labels = [], {task_id: [] for task_id in CLASSES}
    indices = {
        "vq": ["real", "mvq", "svq", "sq"],
        "aux": ["real", "none", "sem", "disent"],
        "dec": ["real", "time", "freq"],
    }
    for seed in range(8):
        sound = speech.utterance(seed, samples / speech.RATE)
        for codec in (None, *speech.CODECS):
            waves.append(sound if codec is None else speech.through(codec, sound))
            classes = ("real",) * 3 if codec is None else speech.CODECS[codec]
            for task_id, name in zip(("vq", "aux", "dec"), classes, strict=True):
                labels[task_id].append(indices[task_id].index(name))
            labels["bin"].append(int(codec is None))
    return torch.from_numpy(np.stack(waves)), {k: torch.tensor(v) for k, v in labels.items()}


@pytest.fixture
def one_thread():
    """For models so small that a second thread costs more than it does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("tasks", VARIANTS.values(), ids=VARIANTS)
def test_a_small_model_learns_32_clips_by_heart(tasks, clips, one_thread, monkeypatch):
    waves, labels = clips
    monkeypatch.setattr(wav2vec2_aasist, "SPECTRAL", 24)
    model = build(tasks).train()
    for module in model.modules():
        if isinstance(module, MapNorm | NodeNorm):
            module.momentum = 0.5  # so that the statistics keep up with so few steps
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, fused=True)
    losses = []
    for _ in range(80):
        output = model(waves, labels)
        losses.append(output.loss.item())
        if losses[-1] < 0.01:
            break
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert losses[0] > 0.4
    assert losses[-1] < 0.01
    # Also with the statistics that it has kept, as it answers later.
    with torch.inference_mode():
        answers = model.eval()(waves).logits
    for task_id in tasks:
        for logits in (output.logits[task_id], answers[task_id]):
            assert (logits.argmax(dim=1) == labels[task_id]).all(), task_id
