"""The schema: `schema.graphql` with its resolvers attached."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, cast

from graphql import DocumentNode, GraphQLObjectType, GraphQLSchema, build_ast_schema, parse
from graphql.validation.validate import assert_valid_sdl

from proxy.graphql.resolvers import MUTATION, NESTED, QUERY, SUBSCRIPTION


def make_schema() -> GraphQLSchema:
    """Build the schema.

    Raises:
        KeyError: a root field has no resolver, or a resolver has no field.
    """
    schema = build_ast_schema(_document(), assume_valid_sdl=True)
    for kind, resolvers in ((schema.query_type, QUERY), (schema.mutation_type, MUTATION)):
        _attach(kind, resolvers, "resolve")
    _attach(schema.subscription_type, SUBSCRIPTION, "subscribe")
    for type_name, resolvers in NESTED.items():
        for name, resolver in resolvers.items():
            cast("GraphQLObjectType", schema.type_map[type_name]).fields[name].resolve = resolver
    return schema


@cache
def _document() -> DocumentNode:
    """Return the document of the schema, which is parsed and checked once."""
    document = parse(files("proxy.graphql").joinpath("schema.graphql").read_text("utf-8"))
    assert_valid_sdl(document)
    return document


def _attach(kind: GraphQLObjectType | None, resolvers: dict[str, Any], slot: str) -> None:
    if kind is None:
        raise KeyError("the schema has no root type")
    for name, field in kind.fields.items():
        setattr(field, slot, resolvers[name])
