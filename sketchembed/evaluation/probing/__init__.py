"""What the embedding says of layout: relations and spatial variables."""
