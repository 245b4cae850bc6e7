"""ImageBind-LLM: instructions about any modality, learnt from image-text pairs only (arXiv 2309.03905)."""

__version__ = "0.1.0"
