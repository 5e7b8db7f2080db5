"""What survives a crash: the spool on disk and the job database."""
