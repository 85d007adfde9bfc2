"""What earlier runs left behind: kept in one SQLite file, compared, drawn, and watched for regressions."""
