"""What is served over HTTP, beside gRPC: what strangers need to verify, and what OAuth's tools ask.

Needs the extra `web`: pip install 'chain-authz[web]'.
"""
