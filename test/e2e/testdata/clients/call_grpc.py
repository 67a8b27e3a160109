"""Calls with grpcio: python3 call_grpc.py HOST:PORT. One line for each call: what a
health service answers in bytes, or the status of its refusal."""
import sys

import grpc

with grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials()) as channel:
    print(channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20).hex())
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
    print(next(watch).hex())
    watch.cancel()
    try:
        channel.unary_unary("/test.Admin/Delete")(b"", timeout=20)
    except grpc.RpcError as e:
        print(e.code().name, e.details())
