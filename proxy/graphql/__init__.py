"""GraphQL on graphql-core: the schema, documents parsed and validated once, and GraphQL over HTTP."""
