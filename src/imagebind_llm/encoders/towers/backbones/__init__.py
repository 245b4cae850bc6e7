"""What stands in a tower: a module that turns a batch of media into one feature vector each."""
