"""What the model that is handed on does with a request: checks it, prepares its clips, answers."""
