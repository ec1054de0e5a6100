"""A sandbox identity provider that behaves like an Auth0 tenant, for development and tests."""
