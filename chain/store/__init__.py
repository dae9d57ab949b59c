"""Stores of the ledger: `memory` for tests, `sqlite` the embedded default.

The law of this folder: a store keeps bytes and rows in commit order and answers for their durability; it
never judges them. One contract suite holds for every store. Import the module of the store you want.
"""
