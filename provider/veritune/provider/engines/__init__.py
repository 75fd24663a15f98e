"""Engines: inference behind one Protocol, by transformers or by vLLM.

In      a base model, adapters, messages
Out     answers piece by piece, log-probabilities of completions
Reads   common; provider.hardware, provider.models
Never   contracts, jobs, storage, serving, rpc, grpc
Start   base.InferenceEngine, factory

>>> from veritune.provider.engines.base import Sampling
>>> Sampling(max_tokens=8).temperature  # greedy unless asked otherwise
0.0
>>> Sampling(temperature=-1)
Traceback (most recent call last):
    ...
ValueError: temperature must be 0 or within 0.01 and 100
"""
