"""The fields that arm a request exist in every request model of the pinned vLLM that the proxy forwards to.

vLLM ignores what it does not know: a route without them would answer an armed request with the plain model.
"""

import pytest
from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

from guards.engine.contract import Arming, request_fields


@pytest.mark.parametrize(
    "model", [ChatCompletionRequest, CompletionRequest, ResponsesRequest, AnthropicMessagesRequest]
)
def test_a_route_knows_the_fields_that_arm(model: type):
    fields = request_fields(Arming({"a0": -0.75}), salt="tenant", adapter="lethe:assistant@1")
    assert set(fields) == {"vllm_xargs", "cache_salt", "model"}
    assert set(fields) <= set(model.model_fields)
