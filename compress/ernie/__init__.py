"""ERNIE: checkpoints in, distilled and quantized text classifiers out."""
