"""Any OpenAI-compatible endpoint as an annotator."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from graphnoise.annotators.base import Questions
from graphnoise.annotators.batch_files import BatchRequest
from graphnoise.annotators.capabilities import Ask, Capabilities, probe_chat
from graphnoise.annotators.exemplars import with_exemplars
from graphnoise.annotators.prompting import load_template
from graphnoise.annotators.requests import ChatDialogue, is_chat_answer
from graphnoise.annotators.served import ServedAnnotator
from graphnoise.annotators.session import with_text
from labelnoise.text_encoders.loading import told_in_a_line


class EndpointAnnotator(ServedAnnotator):
    """Asks a chat endpoint: cache first, hard budget, own retries, one repair, then abstention.

    What the server really does with schema, choice, log-probabilities and several samples is
    found out once per address and model, and kept in the cache. Class probabilities come from the
    tokens where the server tells them, else from the votes of the samples, else the model's own
    number stands. A server on this machine is never asked through a proxy.

    Args:
        model, url, options, words, patience: See
            `graphnoise.annotators.served.ServedAnnotator`.

    Example:
        >>> annotator = EndpointAnnotator("llama3", "http://127.0.0.1:11434/v1")
        >>> annotator.settings()["template"]
        'zero_shot'
    """

    name = "openai"
    endpoint_class = "chat"

    def settings(self) -> Mapping[str, Any]:
        """Everything that decides the answers; the key is not among it."""
        options, template = self.options, load_template(self.options.prompt)
        return {
            **super().settings(), "template": template.name, "template_version": template.version,
            "samples": options.samples, "temperature": options.temperature,
            "top_p": options.top_p, "repair": options.repair,
        }  # fmt: skip

    def batch_requests(self, questions: Questions) -> list[BatchRequest]:
        """What `graphnoise.annotators.batch_files` would send: every answer that is missing.

        Their answers come into the same cache, and `annotate` finds them there; it repairs what
        cannot be read.

        Raises:
            ValueError: It is not known what the server does; call `probe` once.
        """
        known = self.capabilities
        if known is None:
            raise ValueError("what the server does must be known before a batch: call probe()")
        dialogue, cache = self._dialogue(questions, known), self._opened()
        asked: dict[str, BatchRequest] = {}
        for row in with_text(questions):
            request = dialogue.first(row)
            missing = [] if request.key in asked else cache.missing(request.key, request.samples)
            if missing:
                # samples that are there are the first ones
                asked[request.key] = BatchRequest(
                    request.body, self.endpoint_class, missing[0], len(missing)
                )
        return list(asked.values())

    def _dialogue(self, questions: Questions, capabilities: Capabilities) -> ChatDialogue:
        tokenizer = self.options.tokenizer
        questions = with_exemplars(questions, self.options.few_shot)
        return ChatDialogue(
            questions, self.model, self.options, words=self.words, known=capabilities,
            tokenizer=None if tokenizer is None else load_tokenizer(tokenizer),
        )  # fmt: skip

    async def _probe(self, ask: Ask) -> Capabilities:
        return await probe_chat(ask, self.model)

    def _is_answer(self, body: Mapping[str, Any]) -> bool:
        return is_chat_answer(body)

    def _expected_completion(self) -> int:
        return min(self.options.max_tokens, load_template(self.options.prompt).max_tokens)


@lru_cache(maxsize=4)
def load_tokenizer(name: str) -> Any:
    """A tokenizer of transformers, by name or folder.

    Raises:
        OSError: There is none.
    """
    from transformers import AutoTokenizer

    with told_in_a_line("tokenizer", name):
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
