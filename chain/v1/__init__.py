"""Generated from protos/chain/v1 by protos/generate.py. Do not edit."""
