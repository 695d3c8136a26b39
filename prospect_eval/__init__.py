"""PROSPECT eval: replay test videos through a model, score the outputs and report the scores.

prospect-eval run --ckpt workbench-tiny --suite workbench
"""
