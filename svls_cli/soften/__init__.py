"""The maths: pure array functions, no files."""
