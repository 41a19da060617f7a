"""Fields of identity cards, income proofs and bank statements, read from text lines by key words and geometry."""
