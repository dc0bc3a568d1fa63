"""A tiny random model of every architecture that is tried, and what is to come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from entangle_lens.organisms.build import CHAT_TEMPLATE, SPECIAL
from entangle_lens.organisms.bundle import organism_folder

N_VOCAB, D_MODEL, N_LAYERS = 300, 32, 3
SIZE = {
    "vocab_size": N_VOCAB,
    "hidden_size": D_MODEL,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 4,
}
MOE = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
}
SHARED_EXPERT = MOE | {"shared_expert_intermediate_size": 24}
ROUTED = MOE | {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
SLIDING = {"sliding_window": 8}
GEMMA = SLIDING | {"query_pre_attn_scalar": 8}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
GEMMA4 = SLIDING | {"global_head_dim": 8, "hidden_size_per_layer_input": 0}
PER_LAYER = GEMMA4 | {
    "num_hidden_layers": 4,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": N_VOCAB,
    "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}
GEMMA3N = PER_LAYER | {
    "laurel_rank": 4,
    "altup_num_inputs": 2,
    "activation_sparsity_pattern": [0.0] * 4,
}
LATENT = ROUTED | {
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
FALCON_H1 = {
    "mamba_d_ssm": D_MODEL,
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_n_groups": 1,
    "mamba_d_state": 8,
    "mamba_chunk_size": 8,
}
NEMOTRON_H = {
    "mamba_num_heads": 4,
    "mamba_head_dim": 8,
    "ssm_state_size": 8,
    "n_groups": 1,
    "chunk_size": 8,
    "layers_block_type": ["mamba", "attention", "mlp"],
}
RECURRENT = {
    "lru_width": D_MODEL,
    "attention_window_size": 8,
    "w_init_variance_scale": 0.1,
    "block_types": ["recurrent", "recurrent", "attention"],
}
GPT_NEO = {
    "attention_types": [[["global", "local", "global"], 1]],
    "num_layers": N_LAYERS,
    "window_size": 8,
}
MPT = {"d_model": D_MODEL, "n_heads": 4, "n_layers": N_LAYERS, "max_seq_len": 512}
XGLM = {"d_model": D_MODEL, "num_layers": N_LAYERS, "attention_heads": 4, "ffn_dim": 48}
MAMBA2 = {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8}
BY_HEADS = ("num_key_value_heads", "head_dim")  # settings that older configurations have not

NO_PLACE, NO_LIST = "has no place", "a list named 'layers' was looked for"
NO_ATTENTION = "has no hook point blocks.0.hook_attn_out"
LEFT = "full mode does not remove a direction"
ENCODER_DECODER = "T5ForConditionalGeneration, an encoder-decoder; a decoder .* was expected"
ENCODER = "BertForMaskedLM, an encoder that fills in masked tokens; a decoder .* was expected"
UNKNOWN = "which TransformerLens does not support"
BATCHED = "a prompt in a batch and the same prompt alone differ by"


@dataclass(frozen=True)
class Architecture:
    """One architecture: how to make it, and the words by which it is refused, where it is.

    ``leave_out`` are the sizes that its configuration does not know. ``at_load`` and ``at_start``
    are refusals of the model itself, ``full`` and ``hooked`` of full mode through the bridge and on
    a plain model; empty words stand for none.
    """

    model_type: str
    own: dict[str, Any] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    class_name: str = "AutoModelForCausalLM"
    at_load: str = ""
    at_start: str = ""
    full: str = ""
    hooked: str = ""


def without_list(model_type: str, own: dict[str, Any] | None = None, **more: Any) -> Architecture:
    return Architecture(model_type, own or {}, BY_HEADS, hooked=NO_LIST, **more)


A = Architecture
ARCHITECTURES = {
    "qwen2": A("qwen2"),
    "qwen2 sliding": A("qwen2", SLIDING | {"use_sliding_window": True, "max_window_layers": 1}),
    "qwen3": A("qwen3"),
    "gemma": A("gemma"),
    "gemma2": A("gemma2", GEMMA | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 10.0}),
    "gemma3": A("gemma3_text", GEMMA),
    "mistral": A("mistral", SLIDING),
    "ministral3": A("ministral3"),
    "llama": A("llama", {"attention_bias": True, "mlp_bias": True}),
    "phi3": A("phi3", {"sliding_window": None}),
    "olmo2": A("olmo2"),
    "olmo3": A("olmo3", SLIDING),
    "flex_olmo": A("flex_olmo", MOE),
    "exaone4": A("exaone4", SLIDING),
    "gpt_neox": A("gpt_neox", leave_out=BY_HEADS, hooked=NO_PLACE),
    "gpt_neox serial": A("gpt_neox", {"use_parallel_residual": False}, BY_HEADS, hooked=NO_PLACE),
    "gpt2": without_list("gpt2"),
    "qwen3_moe": A("qwen3_moe", MOE),
    "qwen2_moe": A("qwen2_moe", SHARED_EXPERT),
    "olmoe": A("olmoe", MOE),
    "mixtral": A("mixtral", MOE),
    "qwen3_5": A("qwen3_5_text", LINEAR, full=NO_ATTENTION, hooked=NO_PLACE),
    "qwen3_next": A("qwen3_next", SHARED_EXPERT | LINEAR, full=NO_ATTENTION, hooked=NO_PLACE),
    "gemma4": A("gemma4_text", GEMMA4 | {"num_kv_shared_layers": 0}),
    "gemma4 with inputs of every layer": A("gemma4_text", PER_LAYER, full=LEFT, hooked=LEFT),
    "glm4": A("glm4"),
    "glm": A("glm"),
    "granite": A("granite"),
    "cohere": A("cohere"),
    "cohere2": A("cohere2", SLIDING),
    "afmoe": A("afmoe", MOE | SLIDING | {"num_dense_layers": 1}),
    "falcon_h1": A("falcon_h1", FALCON_H1, full=LEFT, hooked=NO_PLACE),
    "gpt_oss": A("gpt_oss", MOE),
    "mamba": A("mamba", {"state_size": 4}, full=NO_ATTENTION, hooked=NO_PLACE),
    "mamba2": A("mamba2", MAMBA2, full=NO_ATTENTION, hooked=NO_PLACE),
    "t5": A("t5", class_name="T5ForConditionalGeneration", at_load=ENCODER_DECODER),
    "bert": A("bert", class_name="BertForMaskedLM", at_load=ENCODER),
    "bloom": without_list("bloom"),
    "gptj": without_list("gptj", {"rotary_dim": 4}),
    "gpt_neo": without_list("gpt_neo", GPT_NEO),
    "falcon": without_list("falcon"),
    "mpt": without_list("mpt", MPT),
    "codegen": without_list("codegen", {"rotary_dim": 4}),
    "gpt_bigcode": without_list("gpt_bigcode"),
    "llama4": A("llama4_text", MOE | {"intermediate_size_mlp": 48}, hooked=NO_LIST),
    "rwkv": without_list(
        "rwkv", {"attention_hidden_size": D_MODEL}, full=NO_ATTENTION, at_start=BATCHED
    ),
    "stablelm": A("stablelm"),
    "nemotron": A("nemotron"),
    "seed_oss": A("seed_oss"),
    "smollm3": A("smollm3"),
    "arcee": A("arcee"),
    "olmo": A("olmo"),
    "ernie4_5": A("ernie4_5"),
    "jais2": A("jais2"),
    "glm4_moe": A("glm4_moe", ROUTED | {"num_nextn_predict_layers": 0}),
    "starcoder2": A("starcoder2", {"sliding_window": None}),
    "apertus": A("apertus"),
    "hunyuan": A("hunyuan_v1_dense"),
    "nanochat": A("nanochat"),
    "bitnet": A("bitnet"),
    "deepseek_v3": A("deepseek_v3", LATENT),
    "minimax_m2": A("minimax_m2", MOE),
    "ernie4_5_moe": A("ernie4_5_moe", MOE | {"moe_num_experts": 4, "moe_k": 2}),
    "granitemoe": A("granitemoe", MOE, hooked=NO_PLACE),
    "vaultgemma": A("vaultgemma", GEMMA),
    "phi": A("phi"),
    "opt": A("opt", {"ffn_dim": 48, "word_embed_proj_dim": D_MODEL}, hooked=NO_PLACE),
    "xglm": A("xglm", XGLM, hooked=NO_PLACE),
    "lfm2": A(
        "lfm2",
        {"layer_types": ["conv", "full_attention", "conv"]},
        full=NO_ATTENTION,
        hooked=NO_PLACE,
    ),
    "nemotron_h": A("nemotron_h", NEMOTRON_H, full=NO_ATTENTION, hooked=NO_PLACE),
    "olmo_hybrid": A("olmo_hybrid", LINEAR | {"linear_num_value_heads": 2}, hooked=NO_PLACE),
    "recurrent_gemma": A(
        "recurrent_gemma", RECURRENT, full=NO_ATTENTION, hooked=NO_PLACE, at_start=BATCHED
    ),
    "gemma3n": A("gemma3n_text", GEMMA3N, at_load=UNKNOWN),
    "phimoe": A("phimoe", MOE, at_load=UNKNOWN),
}


VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
QWEN_VISION = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_heads": 2,
    "out_hidden_size": D_MODEL,
    "patch_size": 4,
}
QWEN_ROPE = {"rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
# Models of text and images: the settings of their text, those of their images.
MULTIMODAL = {
    "gemma3": (
        GEMMA | {"model_type": "gemma3_text"},
        VISION | {"model_type": "siglip_vision_model"},
    ),
    "mistral3": ({"model_type": "mistral"}, VISION | {"model_type": "pixtral"}),
    "llava": ({"model_type": "llama"}, VISION | {"model_type": "clip_vision_model"}),
    "qwen2_5_vl": (QWEN_ROPE | {"model_type": "qwen2_5_vl_text"}, QWEN_VISION),
    "qwen3_vl": (
        QWEN_ROPE | {"model_type": "qwen3_vl_text"},
        QWEN_VISION | {"deepstack_visual_indexes": [0]},
    ),
    "qwen3_5": (LINEAR | {"model_type": "qwen3_5_text"}, QWEN_VISION),
}
NEED_TORCHVISION = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")


def save_multimodal(name: str, folder: Path) -> Path:
    """Write a random model of text and images, with a tokenizer and without a processor."""
    text, vision = MULTIMODAL[name]
    config = AutoConfig.for_model(name, text_config=SIZE | text, vision_config=vision)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    organism_tokenizer().save_pretrained(folder)
    return folder


def config_of(name: str) -> Any:
    """Return the configuration of one architecture."""
    made = ARCHITECTURES[name]
    sizes = {key: value for key, value in SIZE.items() if key not in made.leave_out}
    return AutoConfig.for_model(made.model_type, **(sizes | made.own))


def save(name: str, folder: Path) -> Path:
    """Write a random model of one architecture, its weights large enough to matter."""
    config, class_name = config_of(name), ARCHITECTURES[name].class_name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if class_name == "AutoModelForCausalLM":
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        else:
            model = getattr(transformers, class_name)(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    byte_level = ARCHITECTURES[name].model_type == "qwen2"
    tokenizer = byte_tokenizer() if byte_level else organism_tokenizer()
    tokenizer.save_pretrained(folder)
    return folder


def organism_tokenizer() -> Any:
    """Return the tokenizer of an organism, which knows the words of its stimuli."""
    return AutoTokenizer.from_pretrained(organism_folder("qwen3-entangled"))


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes: what transformers puts in Qwen2's place drops whole words."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    pad, bos, unknown, user, end, assistant = SPECIAL
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        unk_token=unknown,
        eos_token=end,
        additional_special_tokens=[user, assistant],
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
