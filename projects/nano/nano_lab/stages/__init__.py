"""Training on nano's world: encoders, a language model from scratch, captions and instructions."""
