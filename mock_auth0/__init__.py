"""A sandbox identity provider that speaks like an Auth0 tenant, for laptops and tests."""
