"""The steps that `pipeline` takes, each over the open store: record, close, settle, forget."""
