"""Figures that anyone can reproduce: see README.md in this folder."""
