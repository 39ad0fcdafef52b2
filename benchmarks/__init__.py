"""What the project measures: published tables again, and speed."""
