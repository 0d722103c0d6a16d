"""What comes in: label maps, their geometry, classes and names."""
