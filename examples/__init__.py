"""Everything in here is invented: sample papers, texts, histories and a demonstration teacher."""
