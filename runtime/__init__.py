"""Serving: predictors over three backends, the OCR pipeline, text and behaviour models, the Flask app."""
