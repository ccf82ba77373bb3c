"""What keeps a store in order: migrations, the doctor, backups. Only operators need it."""
