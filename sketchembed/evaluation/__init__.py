"""What an embedding is worth."""
