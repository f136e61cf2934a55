"""A PostgreSQL of which these tests may have as much as they like."""

import uuid

import pytest


@pytest.fixture
def local_postgres(postgres):
    """A schema of its own, reached over a local socket: namespaces do not matter to it."""
    name = f"n{uuid.uuid4().hex}"
    postgres.address(name)
    folder = postgres.data.parent
    return f"postgresql://postgres@/postgres?host={folder}&port={postgres.port}&options=-csearch_path%3D{name}"
