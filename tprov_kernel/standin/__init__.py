"""A local stand-in for Temporal Cloud's control plane, speaking its real gRPC API.

`python -m tprov_kernel.standin` serves `temporal.api.cloud.cloudservice.v1.CloudService` on the
loopback address, with the messages that the temporalio wheel ships. The parts:

    __main__    the command: arguments, start, signals
    server      gRPC: key check, faults, idempotency, dispatch, the log of calls
    core        what every family of resources shares: look up, list, create, update, delete
    operations  asynchronous operations: carried out in the background, resumed after a restart
    store       SQLite: objects, operations, idempotency records
    rules       what the real service would refuse, in one place
    keys        who is calling, and what they may do
    faults      failures on demand
    mirror      each namespace, made real on the local Temporal server
    control     the client that injects faults and lists objects, from any process
    families/   one module for each family of resources, its methods named as the API's are
"""
