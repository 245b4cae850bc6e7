"""The small world nano lives in: real pictures, sounds and shapes, and senses derived from handwriting."""
