"""What nano learns from: pictures and derived media, dialogs, pools and stored embeddings."""
