"""The paper's experiment: the same network trained on several methods' labels."""
