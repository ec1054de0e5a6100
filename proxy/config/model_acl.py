"""The model of the `acl` block: roles, rules and tests."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from proxy.config.block import Block, Methods, Verb
from proxy.config.types import Claims, Flag, ListOf, Size, Text, Texts


class RoleBlock(Block):
    emails: Texts = Field((), description="Globs over the e-mail address.")
    subjects: Texts = Field((), description="Values of the `sub` claim.")
    claims: Claims = Field(default_factory=dict, description="Claims of the token: name and value, or list of values.")
    everyone: Flag = Field(False, description="If true, every signed-in user has the role.")
    tenants: Texts = Field((), description="Domains of the tenants whose users can have the role; all if not set.")


class RuleBlock(Block):
    allow: Annotated[tuple[Verb, ...], ListOf] = Field((), description="Actions that the rule allows.")
    deny: Annotated[tuple[Verb, ...], ListOf] = Field((), description="Actions that the rule denies.")
    roles: Texts = Field((), description="Users who have any of these roles.")
    emails: Texts = Field((), description="Users whose e-mail address matches any of these globs.")
    claims: Claims = Field(default_factory=dict, description="Users whose token has all of these claims.")
    playbooks: Texts = Field((), description="Globs over the playbook path.")
    paths: Texts = Field((), description="Globs over the normalised request path.")
    methods: Methods = Field((), description="With `paths`: the rule applies to these methods only.")
    tenants: Texts = Field((), description="Domains of the tenants whose users the rule applies to; all if not set.")


class TestSubject(Block):
    email: Text = Field("", description="E-mail address of the user, which counts as verified.")
    tenant: Text | None = Field(None, description="Domain of the user's tenant; `auth.default_tenant` if not set.")
    roles: Texts = Field((), description="Roles in the token.")
    claims: dict[str, Any] = Field(default_factory=dict, description="Claims of the token.")


class AclTest(Block):
    as_: TestSubject = Field(alias="as", description="The user.")
    execute: Text | None = Field(None, description="Playbook to execute.")
    view: Text | None = Field(None, description="Playbook to view.")
    modify: Text | None = Field(None, description="Playbook to modify.")
    delete: Text | None = Field(None, description="Playbook to delete.")
    request: Text | None = Field(None, description="A request, such as `GET /noetl/dashboard/stats`.")
    body: Any = Field(None, description="With `request`: its JSON body.")
    expect: Literal["allow", "deny"] = Field(description="The expected decision.")


class Acl(Block):
    roles: dict[str, RoleBlock] = Field(default_factory=dict, description="The roles and their members.")
    default: Literal["allow", "deny"] = Field("deny", description="The decision if no rule matches.")
    max_judged_body: Size = Field(
        1024**2, description="Maximum size of a request body that names a playbook; ten times as much for its content."
    )
    rules: Annotated[tuple[RuleBlock, ...], ListOf] = Field(
        (), description="The access rules; their order has no effect."
    )
    tests: Annotated[tuple[AclTest, ...], ListOf] = Field(
        (), description="Tests of the rules, run by `check` and before the configuration is used."
    )
