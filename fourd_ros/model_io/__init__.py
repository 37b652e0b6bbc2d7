"""Model folders: cards, weights, loading, conversion and ONNX."""
