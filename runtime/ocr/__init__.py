"""PP-OCR: det finds lines, cls turns them upright, rec reads them."""
