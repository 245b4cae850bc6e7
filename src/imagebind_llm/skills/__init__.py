"""What a model does beyond answering: dialogs that are kept, tools, pictures, boxes."""
