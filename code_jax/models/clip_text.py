"""CLIP's text encoder (Radford et al. 2021), of which a latent prior wants one thing: the embedding of the empty prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from code_jax.errors import UserError
from code_jax.models.layers import Dtype, Embedding, attend, dense
from code_jax.models.options import MAX_CHANNELS, number, one_of, read_options, whole

_ACTIVATIONS = {"quick_gelu": lambda x: x * nn.sigmoid(1.702 * x), "gelu": lambda x: nn.gelu(x, approximate=False)}
# Of transformers' config: how other parts are made, trained or run.
_WITHOUT_EFFECT = (
    "architectures", "attention_dropout", "dropout", "dtype", "initializer_factor", "initializer_range", "model_type",
    "projection_dim", "torch_dtype", "transformers_version", "pad_token_id", "chunk_size_feed_forward", "is_encoder_decoder",
    "output_attentions", "output_hidden_states", "return_dict", "id2label", "label2id", "problem_type",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CLIPTextConfig:
    """Architecture of a `CLIPTextModel`; names and meanings are those of transformers' class, defaults those of ViT-L/14.

    Attributes:
        vocab_size: number of tokens.
        hidden_size: channels of a token.
        intermediate_size: channels inside a layer's perceptron.
        num_hidden_layers: number of layers.
        num_attention_heads: heads of an attention.
        max_position_embeddings: tokens of a prompt.
        hidden_act: "quick_gelu" or "gelu".
        layer_norm_eps: of every LayerNorm.
        bos_token_id, eos_token_id: the tokens that begin a prompt, and that end and fill it.

    Raises:
        UserError: for a value that no network can have, before anything is allocated.
    """

    vocab_size: int = 49408
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    bos_token_id: int = 49406
    eos_token_id: int = 49407

    def __post_init__(self) -> None:
        whole("vocab_size", self.vocab_size, 1 << 20)
        whole("hidden_size", self.hidden_size, MAX_CHANNELS)
        whole("intermediate_size", self.intermediate_size, 4 * MAX_CHANNELS)
        whole("num_hidden_layers", self.num_hidden_layers, 128)
        whole("num_attention_heads", self.num_attention_heads, 256)
        whole("max_position_embeddings", self.max_position_embeddings, 4096)
        one_of("hidden_act", self.hidden_act, tuple(_ACTIVATIONS))
        number("layer_norm_eps", self.layer_norm_eps, 1e-12, 1)
        whole("bos_token_id", self.bos_token_id, self.vocab_size - 1, 0)
        whole("eos_token_id", self.eos_token_id, self.vocab_size - 1, 0)
        if self.hidden_size % self.num_attention_heads:
            raise UserError(f"num_attention_heads {self.num_attention_heads} does not divide hidden_size {self.hidden_size}")

    @classmethod
    def from_transformers(cls, config: Mapping[str, Any]) -> CLIPTextConfig:
        """Reads the mapping of a transformers ``config.json``; raises UserError that names what is not supported.

        The published configs of Stable Diffusion 1.x name other tokens (0 and 2) than its tokenizer makes: they are not read.
        """
        config = {name: value for name, value in config.items() if name not in ("bos_token_id", "eos_token_id")}
        vocabulary = config.get("vocab_size", cls.vocab_size)
        whole("vocab_size", vocabulary, 1 << 20, 2)
        ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
        return read_options(cls, {**config, **ends}, {}, _WITHOUT_EFFECT)

    def empty_prompt(self) -> np.ndarray:
        """The tokens of the empty prompt: the one that begins, then the one that ends and fills. [1, max_position_embeddings]"""
        return np.array([[self.bos_token_id] + [self.eos_token_id] * (self.max_position_embeddings - 1)], np.int32)


def _norm(config: CLIPTextConfig, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(config.layer_norm_eps, name=name)


class _SelfAttention(nn.Module):
    """Attention of each token to those before it."""

    heads: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, channels = x.shape
        q, k, v = (
            dense(channels, name, self.dtype)(x).reshape(batch, tokens, self.heads, channels // self.heads)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        h = attend(q, k, v, self.dtype, jnp.tri(tokens, dtype=bool)).reshape(x.shape)
        return dense(channels, "out_proj", self.dtype)(h)


class _Perceptron(nn.Module):
    """Two linear layers with an activation between."""

    config: CLIPTextConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = _ACTIVATIONS[self.config.hidden_act](dense(self.config.intermediate_size, "fc1", self.dtype)(x))
        return dense(x.shape[-1], "fc2", self.dtype)(h)


class _Layer(nn.Module):
    """Attention and perceptron, each after a norm."""

    config: CLIPTextConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config, dtype = self.config, self.dtype
        h = _norm(config, "layer_norm1")(x)
        x = x + _SelfAttention(config.num_attention_heads, dtype, name="self_attn")(h)
        return x + _Perceptron(config, dtype, name="mlp")(_norm(config, "layer_norm2")(x))


class _Embeddings(nn.Module):
    """Tokens and their places."""

    config: CLIPTextConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        config, width = self.config, self.config.hidden_size
        words = Embedding(config.vocab_size, width, self.dtype, name="token_embedding")(tokens)
        places = Embedding(config.max_position_embeddings, width, self.dtype, name="position_embedding")
        return words + places(jnp.arange(tokens.shape[1]))


class _Layers(nn.Module):
    config: CLIPTextConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.config.num_hidden_layers):
            x = _Layer(self.config, self.dtype, name=f"layers.{i}")(x)
        return x


class CLIPTextModel(nn.Module):
    """The text encoder: ``apply({"params": params}, tokens)`` maps tokens [B, N] to embeddings [B, N, C] in float32."""

    config: CLIPTextConfig
    dtype: Dtype = jnp.float32

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of one prompt."""
        return {"tokens": jax.ShapeDtypeStruct((1, self.config.max_position_embeddings), jnp.int32)}

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = _Embeddings(self.config, self.dtype, name="embeddings")(tokens)
        x = _Layers(self.config, self.dtype, name="encoder")(x)
        return _norm(self.config, "final_layer_norm")(x).astype(jnp.float32)
