"""gRPC next to HTTP, over the same service: KServe's protocol and Envoy's two. `hazgate[grpc]`."""
