"""How much of PyTorch's operator database gradcheck covers, sample by sample.

`python -m conformance NAME ...` compares; `python -m conformance --write` also writes the table.
"""
