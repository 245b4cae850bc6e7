"""PE-AV (Perception Encoder Audio-Visual): image, video, audio and text in one space, under Apache-2.0."""
