"""Where training examples come from: pools of images, captions, packed rows, precomputed embeddings."""
