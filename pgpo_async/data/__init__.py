"""Prompts: where they come from (`sources`), in which order (`drawing`), how they become chats (`chat`)."""
