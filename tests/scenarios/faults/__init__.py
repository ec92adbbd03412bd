"""What must not go wrong when processes are killed, servers fail and people make mistakes."""
