"""The gRPC service over an `Authority`: authenticates, checks roles, converts, answers. It decides nothing itself."""
