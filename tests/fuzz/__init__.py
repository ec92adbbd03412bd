"""Coverage-guided fuzzing of all that strangers can write: comments, ids, owners' files, our own comment, answers."""
