"""The ordering gate, driven step by step."""
