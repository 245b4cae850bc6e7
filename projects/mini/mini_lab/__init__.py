"""The laboratory of mini: a model of pretrained parts that package registries carry."""
