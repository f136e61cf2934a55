"""The aggregator's database: one SQLite file, one writer."""
