"""PROSPECT eval: replay test videos through a model, score them, and show why the number is what it is.

prospect-eval run --ckpt workbench-tiny --suite workbench
"""
