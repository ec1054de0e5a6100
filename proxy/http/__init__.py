"""HTTP as values: pure rules about requests, responses and their header fields."""
