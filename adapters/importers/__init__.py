"""What comes in from files: exported logs, transcripts, policies."""
