"""Pictures with known text: for calibration, for evaluation, and single lines for recognition."""
