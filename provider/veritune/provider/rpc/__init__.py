"""RPC: the gRPC services, which translate messages to calls and errors to statuses.

In      gRPC requests
Out     gRPC responses, errors as canonical codes with an ErrorInfo
Reads   common; provider.concurrency, provider.contracts, provider.jobs, provider.models, provider.serving,
        provider.storage, provider.telemetry; v1
Never   daemon, client
Start   provider_service.ProviderService, inference_service.InferenceService, status.to_status

>>> from veritune.common.errors import NotFoundError
>>> from veritune.provider.rpc.status import to_status
>>> status = to_status(NotFoundError("no such job"))
>>> status.code, status.message  # 5 is NOT_FOUND
(5, 'no such job')
"""
