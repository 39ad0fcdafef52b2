"""Class probabilities of a causal language model, read from its logits in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.loading import quiet_loading, tokenizer_digest, told_in_a_line
from labelnoise.text_encoders.placement import weights_digest

if TYPE_CHECKING:
    import torch

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CPU_PROMPTS, GPU_PROMPTS = 4, 16
# a model without a chat format goes on writing
WITHOUT_CHAT = "\n\nAnswer:"


@dataclass(frozen=True, eq=False)
class CausalModel:
    """A causal language model with its tokenizer.

    Attributes:
        model: In evaluation mode, on its device.
        tokenizer: Of the model.
        name: As asked for.
        digest: SHA-256 of weights and tokenizer.
        chat: Whether prompts are written in a chat format.
        longest: Tokens the model reads at most.
    """

    model: Any
    tokenizer: Any
    name: str
    digest: str
    chat: bool
    longest: int

    @property
    def device(self) -> "torch.device":
        """Where the model lies."""
        found: torch.device = self.model.device
        return found

    def token_ids(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """The prompt, up to where the answer begins."""
        if not self.chat:
            text = "\n\n".join(message["content"] for message in messages) + WITHOUT_CHAT
            ids: list[int] = self.tokenizer(text)["input_ids"]
            return ids
        # the format writes its own special tokens
        text = _in_chat_format(self.tokenizer, [dict(message) for message in messages])
        written: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return written

    def answer_ids(self, answer: str) -> list[int]:
        """The tokens of an answer behind a prompt."""
        written = answer if self.chat else f" {answer}"
        ids: list[int] = self.tokenizer(written, add_special_tokens=False)["input_ids"]
        return ids


def load_causal_model(name: str, device: str | None = None) -> CausalModel:
    """Load a model of a folder or of the hub; code that comes with it is never run.

    Weights are float32 on a CPU and bfloat16 on a GPU, where half floats would overflow in some
    models.

    Args:
        name: Folder, ``OWNER/MODEL`` or ``OWNER/MODEL@REVISION``.
        device: None takes the best there is.

    Raises:
        OSError: No such model.
        ValueError: A device that torch does not have.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from labelnoise.text_encoders.base import EncoderSettings
    from labelnoise.text_encoders.placement import place

    placement = place(EncoderSettings(device))
    dtype = torch.bfloat16 if placement.device.startswith("cuda") else torch.float32
    folder, revision = name, "main"
    if not Path(name).is_dir():
        folder, _, found = name.partition("@")
        revision = found or revision
    with told_in_a_line("causal language model", name), quiet_loading():
        source: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(folder, **source)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **source)
    digest = f"{weights_digest(model)[:32]}{tokenizer_digest(tokenizer)[:32]}"
    longest = min(
        int(getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length),
        int(tokenizer.model_max_length),
    )
    chat = bool(getattr(tokenizer, "chat_template", None))
    return CausalModel(model.to(placement.device).eval(), tokenizer, name, digest, chat, longest)


def letter_ids(loaded: CausalModel, n_classes: int) -> list[int]:
    """Token of each option's letter.

    Raises:
        ValueError: Letters that are not single, different tokens.
    """
    ids = [loaded.answer_ids(letter) for letter in LETTERS[:n_classes]]
    if any(len(one) != 1 for one in ids) or len({one[0] for one in ids}) < n_classes:
        raise ValueError(f"letters are not single tokens of {loaded.name}: take reading='names'")
    return [one[0] for one in ids]


def letter_log_probabilities(
    loaded: CausalModel, prompts: Sequence[Sequence[int]], letters: Sequence[int]
) -> NDArray[np.float64]:
    """Log-probability ``[M, K]`` of each letter as the next token.

    Args:
        loaded: The model.
        prompts: Token ids, a batch.
        letters: Token of each option ``[K]``.
    """
    import torch

    inputs = _padded_left(loaded, prompts)
    with torch.inference_mode():
        logits = loaded.model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
        chosen = torch.log_softmax(logits.float(), dim=-1)[:, list(letters)]
    return np.asarray(chosen.double().cpu().numpy())


def name_log_probabilities(
    loaded: CausalModel, prompts: Sequence[Sequence[int]], names: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """Log-probability ``[M, K]`` of each sequence of tokens as what follows the prompt.

    The prompts are read once; their keys and values serve all K sequences.

    Args:
        loaded: The model.
        prompts: Token ids, a batch of M.
        names: Token ids of K answers, none empty.
    """
    import torch

    n_prompts, n_names = len(prompts), len(names)
    inputs = _padded_left(loaded, prompts)
    width = max(len(name) for name in names)
    tokens = torch.zeros((n_names, width), dtype=torch.long)
    real = torch.zeros((n_names, width), dtype=torch.bool)
    for row, name in enumerate(names):
        tokens[row, : len(name)] = torch.tensor(name)
        real[row, : len(name)] = True
    # every prompt with every name: rows prompt 0 name 0, prompt 0 name 1, ...
    tokens = tokens.to(loaded.device).repeat(n_prompts, 1)
    real = real.to(loaded.device).repeat(n_prompts, 1)
    lengths = inputs["attention_mask"].sum(dim=1, keepdim=True).repeat_interleave(n_names, 0)
    with torch.inference_mode():
        read = loaded.model(**inputs, use_cache=True, logits_to_keep=1)
        first = read.logits[:, -1].repeat_interleave(n_names, 0)
        parts = [first[:, None]]
        if width > 1:
            read.past_key_values.batch_repeat_interleave(n_names)
            before = inputs["attention_mask"].repeat_interleave(n_names, 0)
            places = torch.arange(width - 1, device=loaded.device)
            more = loaded.model(
                input_ids=tokens[:, :-1],
                attention_mask=torch.cat([before, real[:, :-1].long()], dim=1),
                position_ids=lengths + places,
                past_key_values=read.past_key_values,
                use_cache=True,
            )
            parts.append(more.logits)
        steps = torch.log_softmax(torch.cat(parts, dim=1).float(), dim=-1)
        found = steps.gather(2, tokens[:, :, None])[:, :, 0].double()
        total = torch.where(real, found, 0.0).sum(dim=1)
    return np.asarray(total.view(n_prompts, n_names).cpu().numpy())


def batches_of(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Rows in batches of similar length, longest first: what fits once fits always."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    return [order[start : start + size] for start in range(0, len(order), size)]


def _padded_left(loaded: CausalModel, prompts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """A batch whose last column is the last token of every prompt."""
    import torch

    width = max(len(prompt) for prompt in prompts)
    # whatever stands there is masked out
    tokens = torch.zeros((len(prompts), width), dtype=torch.long)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    inputs = {"input_ids": tokens, "attention_mask": mask, "position_ids": places}
    return {name: one.to(loaded.device) for name, one in inputs.items()}


def _in_chat_format(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    from jinja2 import TemplateError

    # models that think aloud first are asked not to; other formats ignore it
    how: dict[str, Any] = {
        "tokenize": False, "add_generation_prompt": True, "enable_thinking": False,
    }  # fmt: skip
    try:
        text: str = tokenizer.apply_chat_template(messages, **how)
    except TemplateError:
        # a format without a system role
        whole = "\n\n".join(message["content"] for message in messages)
        text = tokenizer.apply_chat_template([{"role": "user", "content": whole}], **how)
    return text
