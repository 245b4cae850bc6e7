"""The stage ``heads``: heads of a towers encoder learn on features that its frozen backbones gave once."""
