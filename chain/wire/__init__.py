"""The wire in one place: messages of `chain.v1` to values and back, errors to statuses and back.

The law of this folder: service and client share it and never import each other. Strict on the way in; what is not
understood on the way out is a denial.
"""
