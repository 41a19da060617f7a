"""Making models small: distillation, quantization, the accuracy gate. Never imported while serving."""
