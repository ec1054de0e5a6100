"""Build the GraphQL parts of a configuration: the limits, the document cache, and the documents that may run."""

from __future__ import annotations

from pathlib import Path

from graphql import GraphQLSchema

from proxy.config.model import Graphql
from proxy.graphql.documents import Documents
from proxy.graphql.limits import DocumentLimits
from proxy.graphql.persisted import AnyDocuments, Library, PersistedQueries
from proxy.graphql.schema import make_schema
from proxy.graphql.trusted import Trusted, load_trusted, read_trusted


def make_library(schema: GraphQLSchema, settings: Graphql, folder: Path) -> Library:
    """Return the documents of an endpoint; paths are relative to `folder`, the folder of the configuration file.

    Raises:
        ConfigError: a trusted document is invalid.
    """
    if settings.trusted_documents is not None:
        return load_trusted(folder / settings.trusted_documents, _without_timeout(schema, settings))
    documents = Documents(
        schema,
        _limits(settings),
        cache=settings.document_cache,
        suggestions=settings.suggestions,
        seconds=settings.validation_timeout,
    )
    return AnyDocuments(documents, PersistedQueries(settings.apq_size) if settings.apq else None)


def check_trusted(settings: Graphql, folder: Path) -> Trusted:
    """Return the trusted documents and their problems; an empty `Trusted` if none are configured."""
    if settings.trusted_documents is None:
        return Trusted()
    return read_trusted(folder / settings.trusted_documents, _without_timeout(make_schema(), settings))


def _without_timeout(schema: GraphQLSchema, settings: Graphql) -> Documents:
    """Return a parser for trusted documents: with the limits of all documents, but without a validation timeout."""
    return Documents(schema, _limits(settings), cache=0, suggestions=settings.suggestions)


def _limits(settings: Graphql) -> DocumentLimits:
    limits = settings.limits
    return DocumentLimits(
        limits.size, limits.tokens, limits.depth, limits.aliases, limits.root_fields, limits.directives, limits.cost
    )
