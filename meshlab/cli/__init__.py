"""What people type: command lines, and what they see on the terminal."""
