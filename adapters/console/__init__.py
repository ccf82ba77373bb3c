"""What people use: the command line, what it shows, and the chat in the terminal."""
